"""Write the tables of docs/scale.md from what was measured: `python scripts/scale_table.py`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import ScaleOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="scale_table")
def main(composed: DictConfig) -> None:
    """Import late, as all scripts do."""
    with one_line_errors(ScaleOptions):
        options = from_omegaconf(ScaleOptions, composed)
        from pixsearch.retrieval.bench.scale import write_tables

        write_tables(options)


if __name__ == "__main__":
    with one_line_errors(ScaleOptions):
        main()
