"""Put several finished demos together: `python scripts/pool.py`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import PoolOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="pool")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(PoolOptions):
        options = from_omegaconf(PoolOptions, composed)
        from pixsearch.evaluation.pool import pool

        pool(options)


if __name__ == "__main__":
    with one_line_errors(PoolOptions):
        main()
