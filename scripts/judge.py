"""Give verdicts on saved answers: `python scripts/judge.py benchmark=crag_mm_single`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import JudgingOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="judge")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(JudgingOptions):
        options = from_omegaconf(JudgingOptions, composed)
        from pixsearch.evaluation.judging import judge_predictions

        judge_predictions(options)


if __name__ == "__main__":
    with one_line_errors(JudgingOptions):
        main()
