"""PopQA: questions of one fact each; no image."""

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.benchmarks.answer_scores import SQUAD, em, f1
from pixsearch.evaluation.benchmarks.opening import open_questions
from pixsearch.evaluation.metrics import text_qa
from pixsearch.evaluation.prompts import SHORT
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

VERSION = 1


def load(options: BenchmarkOptions) -> QuestionBenchmark:
    """Read its only split, test."""
    return open_questions(
        options,
        reader="popqa",
        version=VERSION,
        prompt=SHORT,
        metrics={
            "em": em,
            "f1": f1,
            "popqa_accuracy": _official,
            "flashrag_f1": _flashrag_f1,
            "flashrag_accuracy": _flashrag_accuracy,
        },
        protocol={
            "em, f1": f"{SQUAD}. Not PopQA's own score; `em` is also FlashRAG's",
            "popqa_accuracy": "the official one: a possible answer stands in the first line. Its "
            "script has the model stop after 15 tokens; here it does not",
            "flashrag_f1": "FlashRAG's: yes, no and noanswer share nothing with other words",
            "flashrag_accuracy": "FlashRAG's acc: a possible answer is a part of the answer, both "
            "by SQuAD's normaliser",
        },
    )


def _official(question: AnnotatedQuestion, answer: str) -> float:
    return float(text_qa.popqa_accuracy(answer, question.answers))


def _flashrag_f1(question: AnnotatedQuestion, answer: str) -> float:
    return text_qa.flashrag_overlap(answer, question.answers).f1


def _flashrag_accuracy(question: AnnotatedQuestion, answer: str) -> float:
    return float(text_qa.contains(answer, question.answers))
