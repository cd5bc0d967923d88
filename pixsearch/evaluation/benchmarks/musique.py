"""MuSiQue-Ans, of the whole of Wikipedia: no paragraph is given, no image is shown."""

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.benchmarks.answer_scores import SQUAD, em, f1
from pixsearch.evaluation.benchmarks.opening import open_questions
from pixsearch.evaluation.metrics import text_qa
from pixsearch.evaluation.prompts import SHORT
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

VERSION = 1


def load(options: BenchmarkOptions) -> QuestionBenchmark:
    """Read a split, dev for results; of test the answers are withheld."""
    return open_questions(
        options,
        reader="musique",
        version=VERSION,
        prompt=SHORT,
        metrics={"em": em, "f1": f1, "musique_f1": _official_f1},
        protocol={
            "em, f1": f"{SQUAD}; aliases are accepted",
            "musique_f1": "the official answer F1: two texts of which nothing is left are alike; "
            "not rounded to three places",
            "not scored": "supporting paragraphs, and MuSiQue-Full",
        },
    )


def _official_f1(question: AnnotatedQuestion, answer: str) -> float:
    return text_qa.musique_f1(answer, question.answers)
