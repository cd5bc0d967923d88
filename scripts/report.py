"""Score what was predicted and write the report: `python scripts/report.py benchmark=miniature`."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import ReportOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="report")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(ReportOptions):
        options = from_omegaconf(ReportOptions, composed)
        from pixsearch.evaluation.benchmarks import open_benchmark
        from pixsearch.evaluation.report import write_report
        from pixsearch.evaluation.score import write_results
        from pixsearch.line_store import one_writer

        folder, benchmark = Path(options.output_dir), open_benchmark(options.benchmark)
        with one_writer(folder):
            write_report(
                folder,
                write_results(folder, benchmark, span=options.answer),
                benchmark,
                knowledge_base=Path(options.retrieval.knowledge_base),
                training={stage: Path(run) for stage, run in options.training.items()},
            )


if __name__ == "__main__":
    with one_line_errors(ReportOptions):
        main()
