"""WebQA, by a local approximation of its server's score."""

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.benchmarks.answer_scores import label_of
from pixsearch.evaluation.benchmarks.opening import open_questions
from pixsearch.evaluation.metrics.webqa import Category, webqa_local_accuracy
from pixsearch.evaluation.prompts import SENTENCE
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

VERSION = 1


def load(options: BenchmarkOptions) -> QuestionBenchmark:
    """Read a split, val for results here; test is scored by the server alone."""
    return open_questions(
        options,
        reader="webqa",
        version=VERSION,
        prompt=SENTENCE,
        metrics={"webqa_local_accuracy": _accuracy},
        protocol={
            "webqa_local_accuracy": "a local approximation: F1 of colours, shapes, yes and no or "
            "numbers by category, else recall of the published answer's words. The official score "
            "knows keywords that are not published and multiplies with fluency",
            "evidence": "is searched for, not given; which sources were found is not scored",
        },
        check=_category,
    )


def _category(question: AnnotatedQuestion) -> Category:
    """
    Raises:
        ValueError: it is none of WebQA's.
    """
    named = label_of(question, "Qcate")
    if named not in [*Category]:
        raise ValueError(
            f"WebQA's question {question.id!r} has the Qcate {named!r}; there are: "
            f"{', '.join(Category)}. Fetch its file again"
        )
    return Category(named)


def _accuracy(question: AnnotatedQuestion, answer: str) -> float:
    category = _category(question)
    return max(webqa_local_accuracy(answer, gold, category) for gold in question.answers)
