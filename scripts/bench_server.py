"""Many clients at once against a server: `python scripts/bench_server.py seconds=60`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import BenchServerOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="bench_server")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(BenchServerOptions):
        options = from_omegaconf(BenchServerOptions, composed)
        from pixsearch.web import check_installed

        check_installed()
        from pixsearch.retrieval.server.bench import measure

        measure(options)


if __name__ == "__main__":
    with one_line_errors(BenchServerOptions):
        main()
