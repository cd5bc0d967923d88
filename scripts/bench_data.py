"""How fast examples are read, and a long file opened: `python scripts/bench_data.py`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import BenchDataOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="bench_data")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(BenchDataOptions):
        options = from_omegaconf(BenchDataOptions, composed)
        from pixsearch.training.bench.data.bench import bench_data

        bench_data(options)


if __name__ == "__main__":
    with one_line_errors(BenchDataOptions):
        main()
