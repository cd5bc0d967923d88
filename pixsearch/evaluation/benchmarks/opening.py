"""What all benchmarks of annotated questions share: how they are opened."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.files import fingerprint
from pixsearch.datasets.questions import QUESTION_READERS, AnnotatedQuestion
from pixsearch.evaluation.prompts import Prompt
from pixsearch.evaluation.question_benchmark import Metric, QuestionBenchmark, Total

NOTHING: Mapping[str, Total] = MappingProxyType({})


def any_question(question: AnnotatedQuestion) -> None:
    """Any question will do."""


class JoinedQuestions(Sequence):
    """The questions of one file after those of another, or the first `limit` of them all."""

    def __init__(self, parts: Sequence[Sequence[AnnotatedQuestion]], limit: int | None) -> None:
        self._places = [
            (part, place) for part in range(len(parts)) for place in range(len(parts[part]))
        ][:limit]
        self._parts = parts

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> AnnotatedQuestion:  # type: ignore[override]
        part, place = self._places[index]
        return self._parts[part][place]


def open_questions(
    options: BenchmarkOptions,
    *,
    reader: str,
    version: int,
    prompt: Prompt,
    metrics: Mapping[str, Metric],
    protocol: Mapping[str, str],
    totals: Mapping[str, Total] = NOTHING,
    splits: Sequence[str] = (),
    check: Callable[[AnnotatedQuestion], object] = any_question,
) -> QuestionBenchmark:
    """Read a set of questions and bind its scores.

    Where the split withholds its answers there are no scores, and the protocol says so. Every
    question is looked at, so that none of them ends the scoring of what took hours to answer.

    Args:
        reader: key of QUESTION_READERS.
        metrics: the one that the benchmark's authors rank by first. In each of them an answer
            without a word is wrong, whatever the script would make of it.
        protocol: what else a reader must know of the scores.
        splits: the reader's, joined in a row; the options' split unless told.
        check: raises a ValueError at a question that cannot be scored; its result does not matter.

    Raises:
        ValueError: files are missing or broken, there is no question, or one cannot be scored.
    """
    parts = [
        QUESTION_READERS[reader](Path(options.root), split) for split in splits or [options.split]
    ]
    questions = JoinedQuestions(parts, options.limit)
    if not len(questions):
        raise ValueError(f"{options.root}: {options.name} has no question in {options.split}")
    is_scored = _can_be_scored(questions, options, check)
    bound = {name: partial(_score, metric=metric) for name, metric in metrics.items()}
    return QuestionBenchmark(
        name=options.name,
        version=version,
        split=options.split,
        fingerprint=fingerprint(path for part in parts for path in part.files),
        questions=questions,
        prompt=prompt.words,
        prompt_version=prompt.version,
        metrics=bound if is_scored else {},
        totals=totals if is_scored else {},
        protocol={
            "split": options.split,
            "prompt": f"{prompt.version}: {prompt.source}",
            **protocol,
            "empty answers": "wrong in every score",
            **({} if is_scored else {"scores": "none: the split withholds its answers"}),
        },
    )


def _can_be_scored(
    questions: Sequence[AnnotatedQuestion],
    options: BenchmarkOptions,
    check: Callable[[AnnotatedQuestion], object],
) -> bool:
    """False where the split withholds its answers.

    Raises:
        ValueError: some of the questions have answers and others none, or one cannot be scored.
    """
    without = []
    for question in questions:
        if question.answers:
            check(question)
        else:
            without.append(question.id)
    if 0 < len(without) < len(questions):
        raise ValueError(
            f"{options.root}: {len(without)} of {len(questions)} questions of {options.name} "
            f"({options.split}) have no answer, {without[0]!r} first; fetch its files again"
        )
    return not without


def _score(question: AnnotatedQuestion, answer: str, *, metric: Metric) -> float | None:
    score = metric(question, answer)
    return 0.0 if score is not None and not answer.strip() else score
