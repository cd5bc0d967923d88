"""Keeps what is evaluated out of what is built."""

from collections import Counter
from collections.abc import Iterator, Mapping

from pixsearch.config import BuildTrajectoriesOptions
from pixsearch.datasets.questions import QuestionReader
from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.trajectories.leaks import Leak, LeakReason, find_leaks
from pixsearch.trajectories.sources import BrokenRecord, Questions, SourcedQuestion

Blocked = dict[str, tuple[str, str]]
"""Key of a question -> reason and detail, where it may not be trained on."""


def open_held_out(
    options: BuildTrajectoriesOptions, readers: Mapping[str, QuestionReader] | None = None
) -> Questions:
    """What is held out; its answers may be withheld.

    Raises:
        ValueError: as `Questions`.
    """
    return Questions(options.held_out, readers, need_answers=False)


def blocked_questions(
    questions: Questions, held_out: Questions, options: BuildTrajectoriesOptions
) -> tuple[Blocked, Counter[tuple[str, str]]]:
    """Which questions have something in common with those that are held out.

    Returns:
        Those that may not be trained on; and how often each reason blocks or is only counted.

    Raises:
        ValueError: a record that is held out is broken, so that nobody can say what it is.
    """
    blocked: Blocked = {}
    counted: Counter[tuple[str, str]] = Counter()
    if not len(held_out):
        return blocked, counted
    keep_out = list(_kept_out(held_out))
    for source in questions.counts:
        for leak in find_leaks(
            (each for name, each in _asked(questions) if name == source), keep_out
        ):
            blocks = _blocks(leak, options)
            counted[str(leak.reason), "blocked" if blocks else "counted"] += 1
            if blocks:
                detail = f"the same as of {leak.held_out_id!r}, which is held out"
                blocked.setdefault(f"{source}/{leak.question_id}", (f"leak_{leak.reason}", detail))
    return blocked, counted


class Unblocked:
    """The records that may be trained on; gone through as often as the stages need them."""

    def __init__(self, questions: Questions, blocked: Blocked) -> None:
        self._questions = questions
        self._blocked = blocked

    def __iter__(self) -> Iterator[SourcedQuestion | BrokenRecord]:
        return (record for record in self._questions if record.key not in self._blocked)


def _blocks(leak: Leak, options: BuildTrajectoriesOptions) -> bool:
    excluded = options.exclude_eval_images and leak.reason is LeakReason.image
    return leak.blocking or excluded


def _kept_out(held_out: Questions) -> Iterator[AnnotatedQuestion]:
    for record in held_out:
        if isinstance(record, BrokenRecord):
            raise ValueError(
                f"held_out.{record.source}: {record.detail} ({record.reason}); what cannot be read "
                "cannot be held out: mend it, or fetch the file again"
            )
        yield record.question


def _asked(questions: Questions) -> Iterator[tuple[str, AnnotatedQuestion]]:
    return (
        (record.source, record.question)
        for record in questions
        if isinstance(record, SourcedQuestion)
    )
