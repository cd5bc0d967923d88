"""Build the indexes of a knowledge base: `python scripts/build_index.py retrieval=wikipedia`.

On several processes: `accelerate launch --config_file configs/accelerate/ddp.yaml --num_processes 8
scripts/build_index.py retrieval=wikipedia`.
"""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import BuildIndexOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="build_index")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(BuildIndexOptions):
        options = from_omegaconf(BuildIndexOptions, composed)
        from pixsearch.retrieval.build import build_indexes

        build_indexes(options.retrieval, options.build)


if __name__ == "__main__":
    with one_line_errors(BuildIndexOptions):
        main()
