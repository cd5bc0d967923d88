"""What a stage wrote, found by the key of a question."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Any

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
    """The lines of a stage. In memory are the keys, their outcomes and where the lines begin.

    Raises:
        ValueError: a line is broken; names file and line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[Outcome, int]] = {}
        outcomes = [(line[ID], Outcome(line["outcome"])) for line in read_lines(path, id_field=ID)]
        with path.open("rb") as file:
            for key, outcome in outcomes:
                self._places[key] = (outcome, file.tell())
                file.readline()

    def outcome(self, key: str) -> Outcome | None:
        """None for a question that the stage has not seen."""
        place = self._places.get(key)
        return place and place[0]

    def count(self, outcome: Outcome) -> int:
        return sum(each is outcome for each, _ in self._places.values())

    def line(self, key: str) -> dict[str, Any]:
        with self.path.open("rb") as file:
            file.seek(self._places[key][1])
            return json.loads(file.readline())
