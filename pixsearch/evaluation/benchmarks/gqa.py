"""GQA: questions made from scene graphs."""

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.benchmarks.opening import open_questions
from pixsearch.evaluation.metrics.normalisation import caseless
from pixsearch.evaluation.metrics.vqa import gqa_exact_match
from pixsearch.evaluation.prompts import SHORT
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

VERSION = 1


def load(options: BenchmarkOptions) -> QuestionBenchmark:
    """Read a split, testdev_balanced for results."""
    return open_questions(
        options,
        reader="gqa",
        version=VERSION,
        prompt=SHORT,
        metrics={"gqa_accuracy": _verbatim, "gqa_accuracy_caseless": _caseless},
        protocol={
            "gqa_accuracy": "plain equality, as GQA's script compares: 'Yes' is not 'yes'",
            "gqa_accuracy_caseless": "case and punctuation aside, as lmms-eval compares",
            "not scored": "consistency, validity, plausibility, grounding and distribution",
        },
    )


def _verbatim(question: AnnotatedQuestion, answer: str) -> float:
    return float(gqa_exact_match(answer, question.answers[0]))


def _caseless(question: AnnotatedQuestion, answer: str) -> float:
    return float(gqa_exact_match(answer, question.answers[0], normalise=caseless))
