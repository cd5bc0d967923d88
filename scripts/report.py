"""Score what was predicted and write the report: `python scripts/report.py benchmark=miniature`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import ReportOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="report")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(ReportOptions):
        options = from_omegaconf(ReportOptions, composed)
        from pixsearch.evaluation.report import report

        report(options)


if __name__ == "__main__":
    with one_line_errors(ReportOptions):
        main()
