"""Look at training data: `python scripts/inspect_data.py data=own stage=search`.

Takes every option of scripts/train.py. No weights: the model's tokenizer and configs do.
"""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import InspectDataOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="inspect_data")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(InspectDataOptions):
        options = from_omegaconf(InspectDataOptions, composed)
        from pixsearch.training.inspection import inspect_data

        inspect_data(options)


if __name__ == "__main__":
    with one_line_errors(InspectDataOptions):
        main()
