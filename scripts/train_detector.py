"""Train the detector of the miniature's pipeline baseline: `python scripts/train_detector.py`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import TrainDetectorOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="train_detector")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(TrainDetectorOptions):
        options = from_omegaconf(TrainDetectorOptions, composed)
        from pixsearch.miniature.training_detector import train_detector

        train_detector(options)


if __name__ == "__main__":
    with one_line_errors(TrainDetectorOptions):
        main()
