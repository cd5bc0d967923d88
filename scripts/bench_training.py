"""Compare a training step with that of LISA and PLUM: `python scripts/bench_training.py`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import BenchTrainingOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="bench_training")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(BenchTrainingOptions):
        options = from_omegaconf(BenchTrainingOptions, composed)
        from pixsearch.training.bench.compare import compare

        compare(options)


if __name__ == "__main__":
    with one_line_errors(BenchTrainingOptions):
        main()
