"""Keeps what is evaluated out of what is built."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain

from pixsearch.config import BuildTrajectoriesOptions, DatasetOptions, QuestionSourceOptions
from pixsearch.datasets import READERS
from pixsearch.datasets.evaluated_expressions import READER as REFERRING
from pixsearch.datasets.evaluated_expressions import Phrases, expressions_of, phrases_of
from pixsearch.datasets.exclusion import images_of
from pixsearch.datasets.leaks import KeptOut, Leak, LeakReason
from pixsearch.datasets.questions import QUESTION_READERS, QuestionReader
from pixsearch.trajectories.sources import BrokenRecord, Questions, SourcedQuestion, SourceRows

Blocked = dict[str, tuple[str, str]]
"""Key of a question -> reason and detail, where it may not be trained on."""


class HeldOut:
    """What is held out: questions, whose answers may be withheld, and the images of other sets.

    Args:
        readers: beside those of pixsearch.datasets.questions.

    Raises:
        ValueError: as `Questions`, or the first n examples of a set of images are asked for.
    """

    def __init__(
        self,
        sources: Mapping[str, QuestionSourceOptions],
        readers: Mapping[str, QuestionReader] | None = None,
    ) -> None:
        asked = {**QUESTION_READERS, **(readers or {})}
        shown = {
            name: source
            for name, source in sources.items()
            if source.reader in READERS and source.reader not in asked
        }
        rest = {name: source for name, source in sources.items() if name not in shown}
        self._questions = Questions(rest, readers, need_answers=False)
        self._shown = {name: _dataset(name, source) for name, source in shown.items()}

    def __len__(self) -> int:
        """Questions and sets of images."""
        return len(self._questions) + len(self._shown)

    def kept_out(self, *, by_content: bool = False) -> KeptOut:
        """All of it, to compare with; images inside other files by their pixels.

        Args:
            by_content: all images of questions by their pixels, too.

        Raises:
            ValueError: a record is broken, so that nobody can say what it is.
        """
        kept_out = KeptOut(by_content=by_content, embedded_by_content=True)
        for record in self._questions:
            if isinstance(record, BrokenRecord):
                raise ValueError(
                    f"held_out.{record.source}: {record.detail} ({record.reason}); what cannot be "
                    "read cannot be held out: mend it, or fetch the file again"
                )
            kept_out.add(record.question)
        for name, dataset in self._shown.items():
            kept_out.add_images(images_of(dataset), f"an image of {name}")
        return kept_out

    def phrases(self) -> Phrases:
        """The expressions of the sets of RefCOCO, about their images.

        Raises:
            ValueError: a set is broken.
        """
        named = [each for each in self._shown.values() if each.reader == REFERRING]
        return phrases_of(chain.from_iterable(map(expressions_of, named)))


def blocked_questions(
    questions: Questions, held_out: HeldOut, options: BuildTrajectoriesOptions
) -> tuple[Blocked, Counter[tuple[str, str]]]:
    """Which questions have something in common with those that are held out.

    Returns:
        Those that may not be trained on; and how often each reason blocks or is only counted.

    Raises:
        ValueError: as `HeldOut.kept_out`.
    """
    blocked: Blocked = {}
    counted: Counter[tuple[str, str]] = Counter()
    if not len(held_out):
        return blocked, counted
    kept_out = held_out.kept_out(by_content=options.held_out_by_content)
    for source in questions.counts:
        asked = (
            record.question
            for record in questions.of(source)
            if isinstance(record, SourcedQuestion)
        )
        for leak in kept_out.leaks_of(asked, skip_broken=True):
            blocks = _blocks(leak, options)
            counted[str(leak.reason), "blocked" if blocks else "counted"] += 1
            if blocks:
                detail = f"the same as of {leak.held_out_id!r}, which is held out"
                blocked.setdefault(f"{source}/{leak.question_id}", (f"leak_{leak.reason}", detail))
    return blocked, counted


class Unblocked:
    """The records that may be trained on; gone through anew each time."""

    def __init__(self, questions: Questions, blocked: Blocked) -> None:
        self._questions = questions
        self._blocked = blocked

    def __iter__(self) -> Iterator[SourcedQuestion | BrokenRecord]:
        return (record for record in self._questions if record.key not in self._blocked)

    def at(self, rows: SourceRows) -> Iterator[SourcedQuestion]:
        """Some of them, which were gone through before."""
        return self._questions.at(rows)


def _dataset(name: str, source: QuestionSourceOptions) -> DatasetOptions:
    if source.limit is not None:
        raise ValueError(
            f"held_out.{name}.limit={source.limit}: of the reader {source.reader} all images are "
            "held out; take limit away"
        )
    return DatasetOptions(reader=source.reader, root=source.root, split=source.split)


def _blocks(leak: Leak, options: BuildTrajectoriesOptions) -> bool:
    excluded = options.exclude_eval_images and leak.reason is LeakReason.image
    return leak.blocking or excluded
