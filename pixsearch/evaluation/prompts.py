"""The words in which benchmarks put their questions. Changed words get a new version."""

from collections.abc import Callable
from dataclasses import dataclass
from string import ascii_uppercase

from pixsearch.datasets.questions import AnnotatedQuestion


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """How a question is put.

    Attributes:
        source: whose words they are.
    """

    version: str
    words: Callable[[AnnotatedQuestion], str]
    source: str


def _short(question: AnnotatedQuestion) -> str:
    return f"{question.question}\nAnswer the question using a single word or phrase."


def _short_with_image_words(question: AnnotatedQuestion) -> str:
    words = ", ".join(question.official.image_words)
    return (
        f"{question.question}\nReference OCR token: {words}\n"
        "Answer the question using a single word or phrase."
    )


def _letter(question: AnnotatedQuestion) -> str:
    choices = zip(ascii_uppercase, question.official.choices, strict=False)
    lines = [question.question, *(f"{letter}. {choice}" for letter, choice in choices)]
    return "\n".join([*lines, "Answer with the option's letter from the given choices directly."])


def _sentence(question: AnnotatedQuestion) -> str:
    return f"{question.question}\nAnswer the question in one complete sentence."


SHORT = Prompt(
    version="short-1", words=_short, source="LLaVA 1.5's, for questions with a short answer"
)
SHORT_WITH_IMAGE_WORDS = Prompt(
    version="short_with_image_words-1",
    words=_short_with_image_words,
    source="LLaVA 1.5's, for TextVQA; without words in the image its list is empty",
)
LETTER = Prompt(version="letter-1", words=_letter, source="LLaVA 1.5's, for multiple choice")
SENTENCE = Prompt(version="sentence-1", words=_sentence, source="ours")
