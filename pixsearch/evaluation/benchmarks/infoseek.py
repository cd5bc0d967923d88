"""InfoSeek: questions about what an image shows whose answers stand in Wikipedia."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.benchmarks.answer_scores import label_of
from pixsearch.evaluation.benchmarks.opening import open_questions
from pixsearch.evaluation.metrics.infoseek import (
    InfoSeekItem,
    QuestionType,
    Split,
    infoseek_scores,
    item_score,
)
from pixsearch.evaluation.metrics.text_qa import token_f1
from pixsearch.evaluation.prompts import SHORT
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

VERSION = 1
SPLITS = ("val", "test", "human")


def load(options: BenchmarkOptions) -> QuestionBenchmark:
    """Read a split, val for results; of test and human the answers are withheld.

    Raises:
        ValueError: also for train, whose questions belong to neither of the scored splits.
    """
    if options.split not in SPLITS:
        raise ValueError(
            f"benchmark.split={options.split}: InfoSeek is asked on {', '.join(SPLITS)}"
        )
    return open_questions(
        options,
        reader="infoseek",
        version=VERSION,
        prompt=SHORT,
        metrics={"em": _em, "f1": _f1},
        totals={"infoseek": _total},
        protocol={
            "em": "the official rule for each question: equal to any of answer_eval (SQuAD's "
            "normaliser), or a number within its range; here a mean over all questions",
            "f1": "of the words, with the best of answer_eval; of a number it is em. Not official",
            "infoseek": "the official figures: by kind of question, and `final`, the harmonic mean "
            "of unseen_question and unseen_entity; not rounded before it",
            "official_missing": "the script leaves out what has no prediction: "
            "official_missing=true scores so",
        },
        check=_item,
    )


def _item(question: AnnotatedQuestion, answer: str | None = None) -> InfoSeekItem:
    """
    Raises:
        ValueError: the question is of no split, or of another kind than its accepted answers.
    """
    kind = (label_of(question, "question_type") or "").lower()
    type = QuestionType(kind) if kind in [*QuestionType] else QuestionType.STRING
    accepted_range = question.official.answer_range
    if (type is QuestionType.NUMERICAL) != (accepted_range is not None):
        raise ValueError(
            f"InfoSeek's question {question.id!r} is {type} and "
            f"{'has no' if accepted_range is None else 'has a'} range of numbers; fetch its files "
            "of one release"
        )
    return InfoSeekItem(
        type=type,
        split=_split(question),
        answer=answer,
        accepted=question.official.compared_answers,
        accepted_range=accepted_range,
    )


def _split(question: AnnotatedQuestion) -> Split:
    named = label_of(question, "data_split") or ""
    found = [split for split in Split if named.endswith(split)]
    if not found:
        raise ValueError(f"InfoSeek's question {question.id!r} has the data_split {named!r}")
    return found[0]


def _em(question: AnnotatedQuestion, answer: str) -> float:
    score = item_score(_item(question, answer))
    assert score is not None
    return score


def _f1(question: AnnotatedQuestion, answer: str) -> float:
    if question.official.answer_range is not None:
        return _em(question, answer)
    return token_f1(answer, question.official.compared_answers)


def _total(
    questions: Sequence[AnnotatedQuestion], answers: Sequence[str | None]
) -> Mapping[str, Any]:
    """An empty answer counts as none: the script reads it as 0, which many a range holds."""
    given = [answer if answer and answer.strip() else None for answer in answers]
    return asdict(infoseek_scores([_item(*each) for each in zip(questions, given, strict=True)]))
