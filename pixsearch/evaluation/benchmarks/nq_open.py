"""NQ-open: questions that people asked Google; no image."""

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.benchmarks.answer_scores import SQUAD, em, f1
from pixsearch.evaluation.benchmarks.opening import open_questions
from pixsearch.evaluation.metrics import normalisation
from pixsearch.evaluation.metrics.text_qa import exact_match
from pixsearch.evaluation.prompts import SHORT
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

VERSION = 1


def load(options: BenchmarkOptions) -> QuestionBenchmark:
    """Read a split, dev for results."""
    return open_questions(
        options,
        reader="nq_open",
        version=VERSION,
        prompt=SHORT,
        metrics={"em": em, "f1": f1, "nq_open_em": _official_em},
        protocol={
            "em, f1": f"{SQUAD}. The official set has no F1",
            "nq_open_em": "the official EM: letters are decomposed (NFD) before",
        },
    )


def _official_em(question: AnnotatedQuestion, answer: str) -> float:
    return float(exact_match(answer, question.answers, normalise=normalisation.nq_open))
