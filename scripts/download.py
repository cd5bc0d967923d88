"""Print or run what fetches data and weights: `python scripts/download.py what=crag_mm,refcoco`."""

import sys

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import DownloadOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="download")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before anything is loaded."""
    with one_line_errors(DownloadOptions):
        options = from_omegaconf(DownloadOptions, composed)
        from pixsearch.datasets.downloading import download

        download(options)


if __name__ == "__main__":
    for place, word in enumerate(sys.argv):
        if word.startswith("what=") and not word.startswith("what=["):  # a,b is a sweep to Hydra
            sys.argv[place] = f"what=[{word.removeprefix('what=')}]"
    with one_line_errors(DownloadOptions):
        main()
