"""What a stage wrote, found by the key of a question."""

import json
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt64

from pixsearch.key_table import NOT_THERE, KeyTable
from pixsearch.line_store import read_lines


class Outcome(StrEnum):
    """What a stage made of a question."""

    kept = "kept"
    without_search = "without_search"  # answered without a search: no later stage sees it
    quarantined = "quarantined"


ID = "key"


def kept_line(key: str, value: dict[str, Any]) -> dict[str, Any]:
    """The line of a question that goes on, or that needs no search."""
    needs_search = value.get("needs_search", True)  # said by the stage `select` alone
    outcome = Outcome.kept if needs_search else Outcome.without_search
    return {ID: key, "outcome": str(outcome), "value": value}


def quarantined_line(key: str, reason: str, detail: str) -> dict[str, Any]:
    """The line of a question that is left out."""
    return {ID: key, "outcome": str(Outcome.quarantined), "reason": reason, "detail": detail}


class StageLines:
    """The lines of a stage. In memory are their outcomes and where they begin, by hashed keys.

    Raises:
        ValueError: a line is broken; names file and line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = KeyTable()
        self._counts: Counter[Outcome] = Counter()
        with path.open("rb") as file:
            for line in read_lines(path, id_field=ID):
                outcome = Outcome(line["outcome"])
                self._lines.put(line[ID], _packed(outcome, file.tell()))
                self._counts[outcome] += 1
                file.readline()

    def outcome(self, key: str) -> Outcome | None:
        """None for a question that the stage has not seen."""
        packed = self._lines.get(key)
        return None if packed is None else _OUTCOMES[packed % len(_OUTCOMES)]

    def have(
        self, outcome: Outcome, hashes: UInt64[np.ndarray, " num_keys"]
    ) -> Bool[np.ndarray, " num_keys"]:
        """Which of the questions with these hashed keys (`key_hash`) have an outcome."""
        packed = self._lines.numbers_of(hashes)
        return (packed % len(_OUTCOMES) == _OUTCOMES.index(outcome)) & (packed != NOT_THERE)

    def count(self, outcome: Outcome) -> int:
        return self._counts[outcome]

    def line(self, key: str) -> dict[str, Any]:
        packed = self._lines.get(key)
        assert packed is not None, key
        with self.path.open("rb") as file:
            file.seek(packed // len(_OUTCOMES))
            line = json.loads(file.readline())
        assert line[ID] == key, (line[ID], key)
        return line


_OUTCOMES = tuple(Outcome)


def _packed(outcome: Outcome, place: int) -> int:
    """A line's outcome and where it begins, in one number."""
    return place * len(_OUTCOMES) + _OUTCOMES.index(outcome)
