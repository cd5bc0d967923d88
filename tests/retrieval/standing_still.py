"""Builds an index as scripts/build_index.py does, but stands still at a chosen place.

Run by test_killed_build.py: `python standing_still.py '{"options": …, "stop": "add", …}'`.
"""

import json
import sys
import time
from pathlib import Path

from pixsearch.config import BuildIndexOptions, from_omegaconf
from pixsearch.retrieval.build import build_indexes
from pixsearch.retrieval.building import encoding, filling, finishing, shards
from pixsearch.retrieval.vectors import Vectors

PLACES = {
    "encode": (encoding.Encoding, "_encoded"),  # before a window
    "mark": (shards, "_write_aside"),  # a shard is renamed, its marker not written
    "reserve": (filling, "_reserve"),  # trained, nothing added
    "save": (finishing, "recall_at_10"),  # the index is written, its manifest not
}


def stand_still(reached: str) -> None:
    Path(reached).touch()
    time.sleep(600)


def stop_at(place: str, number: int, reached: str) -> None:
    """Stand still at the call of this number."""
    owner, name = PLACES[place]
    original, calls = getattr(owner, name), []

    def counted(*arguments, **more):
        calls.append(place)
        if len(calls) == number:
            stand_still(reached)
        return original(*arguments, **more)

    setattr(owner, name, counted)


def stop_in_add(number: int, reached: str) -> None:
    """Stand still before the chunk of this number is added."""
    original = Vectors.chunks

    def counted(self, size):
        for place, chunk in enumerate(original(self, size), start=1):
            if place == number:
                stand_still(reached)
            yield chunk

    Vectors.chunks = counted


def main(options: dict, stop: str, number: int, reached: str) -> None:
    if stop == "add":
        stop_in_add(number, reached)
    elif stop:
        stop_at(stop, number, reached)
    typed = from_omegaconf(BuildIndexOptions, options)
    build_indexes(typed.retrieval, typed.build, progress=False)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
