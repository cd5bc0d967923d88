"""HotpotQA, of the whole of Wikipedia: no article is given, no image is shown."""

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.benchmarks.answer_scores import SQUAD, em, f1
from pixsearch.evaluation.benchmarks.opening import open_questions
from pixsearch.evaluation.metrics.text_qa import hotpotqa_overlap
from pixsearch.evaluation.prompts import SHORT
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

VERSION = 1


def load(options: BenchmarkOptions) -> QuestionBenchmark:
    """Read a split, dev_fullwiki for results."""
    return open_questions(
        options,
        reader="hotpotqa",
        version=VERSION,
        prompt=SHORT,
        metrics={"em": em, "f1": f1, "hotpotqa_f1": _official_f1},
        protocol={
            "em, f1": f"{SQUAD}. `em` is also the official one",
            "hotpotqa_f1": "the official F1: yes, no and noanswer share nothing with other words",
            "not scored": "supporting facts, which the model does not name",
        },
    )


def _official_f1(question: AnnotatedQuestion, answer: str) -> float:
    return hotpotqa_overlap(answer, question.answers[0]).f1
