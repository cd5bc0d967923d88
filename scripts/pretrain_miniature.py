"""Pre-train the miniature's parts: `python scripts/pretrain_miniature.py`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import PretrainOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="pretrain_miniature")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(PretrainOptions):
        options = from_omegaconf(PretrainOptions, composed)
        from pixsearch.miniature.foundation.run import pretrain_miniature

        pretrain_miniature(options)


if __name__ == "__main__":
    with one_line_errors(PretrainOptions):
        main()
