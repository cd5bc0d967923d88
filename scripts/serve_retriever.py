"""Serve a knowledge base: `python scripts/serve_retriever.py retrieval=wikipedia`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import ServeRetrieverOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="serve_retriever")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(ServeRetrieverOptions):
        options = from_omegaconf(ServeRetrieverOptions, composed)
        from pixsearch.web import check_installed

        check_installed()
        from pixsearch.retrieval.server.serve import serve

        serve(options)


if __name__ == "__main__":
    with one_line_errors(ServeRetrieverOptions):
        main()
