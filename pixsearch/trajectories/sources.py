"""The questions that trajectories are built from, of several data sets in one row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os.path import basename
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from pixsearch.config import QuestionSourceOptions
from pixsearch.datasets.questions import QUESTION_READERS, QuestionReader
from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.datasets.splits import check_training_split
from pixsearch.key_table import KeyTable
from pixsearch.line_store import digest
from pixsearch.trajectories.quarantine import Reason

SourceRows = Mapping[str, Int64[np.ndarray, " num_rows"]]
"""Places of questions, by their source."""


@dataclass(frozen=True, kw_only=True)
class SourcedQuestion:
    """A question and where it comes from.

    Attributes:
        source: its name in the options.
        key: unique over all sources.
        row: its place in its source.
    """

    source: str
    key: str
    row: int
    question: AnnotatedQuestion

    @property
    def has_image(self) -> bool:
        return self.question.load_image is not None


@dataclass(frozen=True, kw_only=True)
class BrokenRecord:
    """A record of which no question could be made."""

    source: str
    key: str
    reason: Reason
    detail: str


class Questions:
    """All questions, sources in the options' order; read anew each time they are gone through.

    Args:
        readers: beside those of pixsearch.datasets.questions.
        need_answers: whether a question without an answer is of no use. It is to one that is only
            held out: a test split withholds them.

    Raises:
        ValueError: an unknown reader, or a source that its reader refuses.
    """

    def __init__(
        self,
        sources: Mapping[str, QuestionSourceOptions],
        readers: Mapping[str, QuestionReader] | None = None,
        *,
        need_answers: bool = True,
    ) -> None:
        known = {**QUESTION_READERS, **(readers or {})}
        self._need_answers = need_answers
        self._limits = {name: source.limit for name, source in sources.items()}
        self._opened = {
            name: _reader(name, source, known)(Path(source.root), source.split)
            for name, source in sources.items()
        }

    @property
    def counts(self) -> dict[str, int]:
        """Records of each source that are gone through."""
        return {
            name: min(len(questions), self._limits[name] or len(questions))
            for name, questions in self._opened.items()
        }

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __iter__(self) -> Iterator[SourcedQuestion | BrokenRecord]:
        for source in self._opened:
            yield from self.of(source)

    def of(self, source: str) -> Iterator[SourcedQuestion | BrokenRecord]:
        """The records of one source."""
        seen = KeyTable()
        for index in range(self.counts[source]):
            yield self._record(source, index, seen)

    def at(self, rows: SourceRows) -> Iterator[SourcedQuestion]:
        """Some of the questions, which were gone through before; no other record is read."""
        for source, places in rows.items():
            for row in map(int, places):
                yield self._sourced(source, row, self._opened[source][row])

    def _record(self, source: str, index: int, seen: KeyTable) -> SourcedQuestion | BrokenRecord:
        try:
            question = self._opened[source][index]
        except ValueError as error:
            return _broken(source, index, Reason.broken_record, str(error))
        if question.id in seen:
            detail = f"the id {question.id!r} occurs before"
            return _broken(source, index, Reason.duplicated_id, detail)
        seen.put(question.id)
        if self._need_answers and not question.answers:
            return _broken(source, index, Reason.no_answer, f"question {question.id!r}")
        return self._sourced(source, index, question)

    def _sourced(self, source: str, row: int, question: AnnotatedQuestion) -> SourcedQuestion:
        key = f"{source}/{question.id}"
        return SourcedQuestion(source=source, key=key, row=row, question=question)


def _broken(source: str, index: int, reason: Reason, detail: str) -> BrokenRecord:
    return BrokenRecord(source=source, key=f"{source}/#{index}", reason=reason, detail=detail)


def content_digest(question: AnnotatedQuestion) -> str:
    """Of what a question says; its image by name only."""
    image = None if question.image_id is None else basename(question.image_id)
    said = [question.question, question.answers, image, question.history]
    return digest(said)[:16]


def check_training_splits(sources: Mapping[str, QuestionSourceOptions]) -> None:
    """See that results are reported on none of them.

    Raises:
        ValueError: on one they are.
    """
    for source in sources.values():
        check_training_split(source.reader, source.split)


def _reader(
    name: str, source: QuestionSourceOptions, known: Mapping[str, QuestionReader]
) -> QuestionReader:
    if source.reader not in known:
        raise ValueError(
            f"sources.{name}.reader={source.reader} is unknown: choose from {', '.join(known)}"
        )
    return known[source.reader]
