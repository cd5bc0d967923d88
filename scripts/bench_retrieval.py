"""Speed and recall of index types, and what our call adds: `python scripts/bench_retrieval.py`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import BenchRetrievalOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="bench_retrieval")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before faiss is loaded."""
    with one_line_errors(BenchRetrievalOptions):
        options = from_omegaconf(BenchRetrievalOptions, composed)
        from pixsearch.retrieval.bench.searching import bench_retrieval

        bench_retrieval(options)


if __name__ == "__main__":
    with one_line_errors(BenchRetrievalOptions):
        main()
