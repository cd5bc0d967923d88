"""Answer one question: `python scripts/infer.py checkpoint=… image=photo.jpg question=…`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import InferOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="infer")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(InferOptions):
        options = from_omegaconf(InferOptions, composed)
        from pixsearch.generation.infer import infer

        infer(options)


if __name__ == "__main__":
    with one_line_errors(InferOptions):
        main()
