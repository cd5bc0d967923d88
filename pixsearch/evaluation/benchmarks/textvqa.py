"""TextVQA 0.5.1, without and with the words that an OCR system read in the image."""

from pathlib import Path

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.datasets.questions.textvqa import image_words_file
from pixsearch.evaluation.benchmarks.answer_scores import evalai
from pixsearch.evaluation.benchmarks.opening import open_questions
from pixsearch.evaluation.metrics import normalisation
from pixsearch.evaluation.metrics.text_qa import token_f1
from pixsearch.evaluation.metrics.vqa import textvqa_exact_match
from pixsearch.evaluation.prompts import SHORT, SHORT_WITH_IMAGE_WORDS, Prompt
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

VERSION = 1


def load(options: BenchmarkOptions) -> QuestionBenchmark:
    """Without words in the prompt."""
    return _load(options, SHORT, "not in the prompt")


def load_with_image_words(options: BenchmarkOptions) -> QuestionBenchmark:
    """With Rosetta's words in the prompt, as LLaVA's published figures are.

    Raises:
        ValueError: also where the file of these words is missing.
    """
    path = image_words_file(Path(options.root), options.split)
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file, and no words for the prompt; fetch it (data/README.md), or "
            "take benchmark=textvqa"
        )
    return _load(options, SHORT_WITH_IMAGE_WORDS, f"Rosetta's, of {path.name}, in the prompt")


def _load(options: BenchmarkOptions, prompt: Prompt, image_words: str) -> QuestionBenchmark:
    return open_questions(
        options,
        reader="textvqa",
        version=VERSION,
        prompt=prompt,
        metrics={"evalai_accuracy": evalai, "em": _em, "f1": _f1},
        protocol={
            "words in the image": image_words,
            "evalai_accuracy": "the server's: mean over ten people of min(1, others / 3)",
            "em": "any of the ten people said it, by the server's normaliser; the paper names none",
            "f1": "of the words, with the best of the ten answers, by the same normaliser",
        },
    )


def _em(question: AnnotatedQuestion, answer: str) -> float:
    return float(textvqa_exact_match(answer, question.answers))


def _f1(question: AnnotatedQuestion, answer: str) -> float:
    return token_f1(answer, question.answers, normalise=normalisation.evalai)
