"""Compose a table or a figure of the paper: `python scripts/make_table.py table=1`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import MakeTableOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="make_table")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before anything is read."""
    with one_line_errors(MakeTableOptions):
        options = from_omegaconf(MakeTableOptions, composed)
        from pixsearch.evaluation.paper_tables import make_table

        make_table(options)


if __name__ == "__main__":
    with one_line_errors(MakeTableOptions):
        main()
