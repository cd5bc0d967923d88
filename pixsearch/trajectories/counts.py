"""What became of the questions: counts per source, kind and reason, as JSON and as a table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

COLUMNS = ("questions", "with_search", "without_search", "beyond_share", "quarantined")


@dataclass(kw_only=True)
class Counts:
    """
    Attributes:
        questions: (source, kind of question, column of `COLUMNS`) -> questions; the kind of one
            that was never classed is "unclassed".
        reasons: (source, stage, reason) -> questions.
        searches: (source, query type) -> searches that are written.
        abstained: source -> answers that end with the abstention.
        leaks: (reason, "blocked" or "counted") -> pairs of a question and one that is held out.
    """

    questions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    searches: Counter[tuple[str, str]] = field(default_factory=Counter)
    abstained: Counter[str] = field(default_factory=Counter)
    leaks: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, source: str, kind: str, column: str, number: int = 1) -> None:
        """Count questions in their row, and in the column of all questions."""
        self.questions[source, kind, "questions"] += number
        self.questions[source, kind, column] += number

    def to_json(self) -> dict[str, Any]:
        return {
            "questions": [
                {"source": source, "kind": kind, **self._row(source, kind)}
                for source, kind in self._rows()
            ],
            "reasons": _listed(self.reasons, "source", "stage", "reason"),
            "searches": _listed(self.searches, "source", "type"),
            "abstained": dict(sorted(self.abstained.items())),
            "leaks": _listed(self.leaks, "reason", "outcome"),
        }

    def table(self) -> str:
        """One row per source and kind; below it the reasons, searches and leaks."""
        rows = [
            [source, kind, *map(str, self._row(source, kind).values())]
            for source, kind in self._rows()
        ]
        sums = [sum(self._row(*row)[name] for row in self._rows()) for name in COLUMNS]
        heading = ["source", "kind", *(name.replace("_", " ") for name in COLUMNS)]
        blocks = [aligned([heading, *rows, ["all", "", *map(str, sums)]], left=2)]
        for title, counter in (
            ("quarantined for", self.reasons),
            ("searches", self.searches),
            ("end in the abstention", Counter({(k,): n for k, n in self.abstained.items()})),
            ("leaks", self.leaks),
        ):
            if counter:
                lines = [[*key, str(count)] for key, count in sorted(counter.items())]
                blocks.append(f"{title}\n{aligned(lines, left=len(lines[0]) - 1)}")
        return "\n".join(blocks)

    def _rows(self) -> list[tuple[str, str]]:
        return sorted({(source, kind) for source, kind, _ in self.questions})

    def _row(self, source: str, kind: str) -> dict[str, int]:
        return {name: self.questions[source, kind, name] for name in COLUMNS}


def aligned(rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Rows as lines: the first `left` columns to the left, the others to the right.

    >>> print(aligned([["a", "bc"], ["def", "1"]], left=1))
    a    bc
    def   1
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _listed(counter: Counter[Any], *names: str) -> list[dict[str, Any]]:
    return [
        {**dict(zip(names, key, strict=True)), "count": count}
        for key, count in sorted(counter.items())
    ]
