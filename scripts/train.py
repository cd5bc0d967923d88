"""Train one stage: `python scripts/train.py stage=ground`. Goes on where it was stopped."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import TrainOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="train")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(TrainOptions):
        options = from_omegaconf(TrainOptions, composed)
        from pixsearch.evaluation.sampling import sampler
        from pixsearch.training import fit

        fit(options, evaluate=sampler(options.retrieval))


if __name__ == "__main__":
    with one_line_errors(TrainOptions):
        main()
