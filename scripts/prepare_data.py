"""See what lacks of the data sets in data/: `python scripts/prepare_data.py check data=paper`."""

import sys

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import DataAction, PrepareDataOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="prepare_data")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before anything is loaded."""
    with one_line_errors(PrepareDataOptions):
        options = from_omegaconf(PrepareDataOptions, composed)
        from pixsearch.datasets.checking import check_data

        actions = {DataAction.check: check_data}
        actions[options.action](options)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in list(DataAction):  # a word for `action=word`
        sys.argv[1] = f"action={sys.argv[1]}"
    with one_line_errors(PrepareDataOptions):
        main()
