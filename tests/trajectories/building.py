"""Builds the toys as scripts/build_trajectories.py does. Run by test_killed.py, which kills it."""

import json
import sys
from pathlib import Path

from pixsearch.config import RetrievalOptions, from_omegaconf
from pixsearch.trajectories.build import build_trajectories
from tests.trajectories.toys import options_of, register


def main(root: str, retrieval: dict, url: str, output: str) -> None:
    register()
    searched = from_omegaconf(RetrievalOptions, retrieval)
    build_trajectories(options_of(Path(root), searched, url, Path(output)))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
