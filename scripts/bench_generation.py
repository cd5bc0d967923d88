"""Time the engine beside what others do about a search: `python scripts/bench_generation.py`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import BenchGenerationOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="bench_generation")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(BenchGenerationOptions):
        options = from_omegaconf(BenchGenerationOptions, composed)
        from pixsearch.generation.bench.compare import compare

        compare(options)


if __name__ == "__main__":
    with one_line_errors(BenchGenerationOptions):
        main()
