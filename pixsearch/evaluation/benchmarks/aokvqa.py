"""A-OKVQA 1.0, by free answers and by multiple choice."""

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.benchmarks.answer_scores import label_of
from pixsearch.evaluation.benchmarks.opening import open_questions
from pixsearch.evaluation.metrics.normalisation import vqa
from pixsearch.evaluation.metrics.vqa import chosen, direct_answer_score, multiple_choice_score
from pixsearch.evaluation.prompts import LETTER, SHORT
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

VERSION = 1


def load_direct_answer(options: BenchmarkOptions) -> QuestionBenchmark:
    """Free answers; those questions that the official scorer leaves out are left out."""
    return open_questions(
        options,
        reader="aokvqa",
        version=VERSION,
        prompt=SHORT,
        metrics={
            "direct_answer_accuracy": _direct_answer,
            "direct_answer_accuracy_normalised": _normalised,
        },
        protocol={
            "direct_answer_accuracy": "min(1, people who wrote just that / 3), letter by letter",
            "direct_answer_accuracy_normalised": "the same by VQA's normaliser: not official",
            "left out": "questions with difficult_direct_answer, as the official script does",
        },
    )


def load_multiple_choice(options: BenchmarkOptions) -> QuestionBenchmark:
    """Four choices, in the official order."""
    return open_questions(
        options,
        reader="aokvqa",
        version=VERSION,
        prompt=LETTER,
        metrics={
            "multiple_choice_accuracy": _multiple_choice,
            "multiple_choice_accuracy_verbatim": _verbatim,
        },
        protocol={
            "multiple_choice_accuracy": "the answer is read as a choice by its letter or its words",
            "multiple_choice_accuracy_verbatim": "the choice's words, letter by letter, as the "
            "official script compares; free text is not mapped by GloVe, as its authors do before",
        },
        check=_correct_choice,
    )


def _correct_choice(question: AnnotatedQuestion) -> int:
    """Its place.

    Raises:
        ValueError: nobody says which choice is right.
    """
    correct = question.official.correct_choice
    if correct is None:
        raise ValueError(
            f"A-OKVQA's question {question.id!r} has no correct_choice_idx; fetch its file again"
        )
    return correct


def _is_difficult(question: AnnotatedQuestion) -> bool:
    return label_of(question, "difficult_direct_answer") == "true"


def _direct_answer(question: AnnotatedQuestion, answer: str) -> float | None:
    return None if _is_difficult(question) else direct_answer_score(answer, question.answers)


def _normalised(question: AnnotatedQuestion, answer: str) -> float | None:
    if _is_difficult(question):
        return None
    return direct_answer_score(vqa(answer), [vqa(given) for given in question.answers])


def _multiple_choice(question: AnnotatedQuestion, answer: str) -> float:
    return _verbatim(question, chosen(answer, question.official.choices))


def _verbatim(question: AnnotatedQuestion, answer: str) -> float:
    return multiple_choice_score(answer, question.official.choices, _correct_choice(question))
