"""Encyclopedic-VQA, by exact match alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.benchmarks.answer_scores import label_of
from pixsearch.evaluation.benchmarks.opening import open_questions
from pixsearch.evaluation.metrics import normalisation
from pixsearch.evaluation.metrics.encyclopedic_vqa import encyclopedic_vqa_em
from pixsearch.evaluation.metrics.mean import mean_of
from pixsearch.evaluation.prompts import SHORT
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

VERSION = 1


def load(options: BenchmarkOptions) -> QuestionBenchmark:
    """Read a split, test for results."""
    return open_questions(
        options,
        reader="encyclopedic_vqa",
        version=VERSION,
        prompt=SHORT,
        metrics={"em": _em},
        totals={"encyclopedic_vqa_em": _total},
        protocol={
            "em": "the official script's first step, with its normaliser; lists by intersection "
            "over union of at least a half. A lower bound: where it says no, the official score "
            "asks BEM, a TensorFlow model, which is not here",
            "images": "each question is asked of the first of its images",
        },
        check=_check,
    )


def _check(question: AnnotatedQuestion) -> None:
    """See that a question can be scored.

    Raises:
        ValueError: its answer is a list of which the normaliser leaves nothing.
    """
    try:
        _em(question, "")
    except ValueError as error:
        raise ValueError(f"Encyclopedic-VQA's question {question.id!r}: {error}") from error


def _em(question: AnnotatedQuestion, answer: str) -> float | None:
    """None where the normaliser leaves nothing of any reference."""
    kept = [each for each in question.answers if normalisation.encyclopedic_vqa(each)]
    is_list = label_of(question, "question_type") == "multi_answer"
    return float(encyclopedic_vqa_em(answer, kept, is_list=is_list)) if kept else None


def _total(
    questions: Sequence[AnnotatedQuestion], answers: Sequence[str | None]
) -> Mapping[str, Any]:
    """Apart as papers have them: questions of one hop and of two."""
    scored: dict[str, list[float | None]] = {"single_hop": [], "two_hop": []}
    for question, answer in zip(questions, answers, strict=True):
        hops = "two_hop" if label_of(question, "question_type") == "2_hop" else "single_hop"
        score = _em(question, answer or "")
        if score is not None:
            scored[hops].append(None if answer is None else score)
    return {hops: asdict(mean_of(scores)) for hops, scores in scored.items()}
