"""Memory and time of building large indexes: `python scripts/bench_index.py count=200000`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import BenchIndexOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="bench_index")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before faiss is loaded."""
    with one_line_errors(BenchIndexOptions):
        options = from_omegaconf(BenchIndexOptions, composed)
        from pixsearch.retrieval.bench.index_building import bench_index

        bench_index(options)


if __name__ == "__main__":
    with one_line_errors(BenchIndexOptions):
        main()
