"""OK-VQA: questions about COCO images that need knowledge from outside."""

from pixsearch.config import BenchmarkOptions
from pixsearch.evaluation.benchmarks.answer_scores import soft_accuracy, soft_accuracy_as_given
from pixsearch.evaluation.benchmarks.opening import open_questions
from pixsearch.evaluation.prompts import SHORT
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

VERSION = 1


def load(options: BenchmarkOptions) -> QuestionBenchmark:
    """Read a split, val for results."""
    return open_questions(
        options,
        reader="okvqa",
        version=VERSION,
        prompt=SHORT,
        metrics={
            "vqa_accuracy": soft_accuracy,
            "vqa_accuracy_unstemmed": soft_accuracy_as_given,
        },
        protocol={
            "vqa_accuracy": "VQA's script, with the stemmed `answer` of the annotations; the "
            "prediction is not stemmed",
            "vqa_accuracy_unstemmed": "the same with `raw_answer`: not the official score",
        },
    )
