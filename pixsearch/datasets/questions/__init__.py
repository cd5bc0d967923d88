"""Readers of question-answering data in its official formats: `load(root, split)`, a line each."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pixsearch.datasets.questions.question import AnnotatedQuestion

QuestionReader = Callable[[Path, str], Sequence[AnnotatedQuestion]]

QUESTION_READERS: dict[str, QuestionReader] = {}
