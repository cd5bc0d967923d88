"""VQA v2.0: questions about COCO images."""

from pixsearch.config import BenchmarkOptions
from pixsearch.evaluation.benchmarks.answer_scores import evalai, soft_accuracy
from pixsearch.evaluation.benchmarks.opening import open_questions
from pixsearch.evaluation.prompts import SHORT
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

VERSION = 1


def load(options: BenchmarkOptions) -> QuestionBenchmark:
    """Read a split, val for results here; test-dev and test are scored by the server alone."""
    return open_questions(
        options,
        reader="vqav2",
        version=VERSION,
        prompt=SHORT,
        metrics={"vqa_accuracy": soft_accuracy, "evalai_accuracy": evalai},
        protocol={
            "vqa_accuracy": "VQA's script: mean over ten people of min(1, others / 3)",
            "evalai_accuracy": "the same with another normaliser, applied always (lmms-eval)",
        },
    )
