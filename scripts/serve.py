"""Answer as OpenAI's servers do: `python scripts/serve.py checkpoint=… retrieval=…`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import ServeOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="serve")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(ServeOptions):
        options = from_omegaconf(ServeOptions, composed)
        from pixsearch.web import check_installed

        check_installed()
        from pixsearch.serving.serve import serve

        serve(options)


if __name__ == "__main__":
    with one_line_errors(ServeOptions):
        main()
