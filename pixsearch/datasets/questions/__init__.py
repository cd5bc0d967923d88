"""Readers of question-answering data in its official formats: `load(root, split)`, a line each."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pixsearch.datasets.questions import aokvqa, crag_mm, infoseek, okvqa, oven, textvqa, webqa
from pixsearch.datasets.questions.question import AnnotatedQuestion

QuestionReader = Callable[[Path, str], Sequence[AnnotatedQuestion]]

QUESTION_READERS: dict[str, QuestionReader] = {
    "aokvqa": aokvqa.load,
    "crag_mm": crag_mm.load,
    "infoseek": infoseek.load,
    "okvqa": okvqa.load,
    "oven": oven.load,
    "textvqa": textvqa.load,
    "webqa": webqa.load,
}
