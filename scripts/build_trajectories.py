"""Build stage-2 data with a teacher: `python scripts/build_trajectories.py dry_run=true`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import BuildTrajectoriesOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="build_trajectories")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(BuildTrajectoriesOptions):
        options = from_omegaconf(BuildTrajectoriesOptions, composed)
        from pixsearch.miniature.teaching import miniature_parts
        from pixsearch.trajectories.build import build_trajectories

        build_trajectories(options, miniature_parts(options))


if __name__ == "__main__":
    with one_line_errors(BuildTrajectoriesOptions):
        main()
