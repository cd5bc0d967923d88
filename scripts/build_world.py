"""Draw a world: `python scripts/build_world.py miniature.seed=7 paths.miniature=FOLDER`."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import BuildWorldOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="build_world")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(BuildWorldOptions):
        options = from_omegaconf(BuildWorldOptions, composed)
        from pixsearch.miniature.foundation.assembly import assemble
        from pixsearch.miniature.world import build_world

        build_world(options.miniature)
        assemble(Path(options.paths.foundation), Path(options.paths.miniature) / "parts")


if __name__ == "__main__":
    with one_line_errors(BuildWorldOptions):
        main()
