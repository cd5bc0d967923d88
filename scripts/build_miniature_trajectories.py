"""Write the miniature's stage-2 data: `python scripts/build_miniature_trajectories.py`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import BuildMiniatureTrajectoriesOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="build_miniature_trajectories")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(BuildMiniatureTrajectoriesOptions):
        options = from_omegaconf(BuildMiniatureTrajectoriesOptions, composed)
        from pixsearch.miniature.trajectories import build_trajectories

        build_trajectories(options)


if __name__ == "__main__":
    with one_line_errors(BuildMiniatureTrajectoriesOptions):
        main()
