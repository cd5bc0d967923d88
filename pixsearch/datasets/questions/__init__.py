"""Readers of question-answering data in its official formats: `load(root, split)`, a line each."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pixsearch.datasets.questions import (
    aokvqa,
    crag_mm,
    encyclopedic_vqa,
    gqa,
    hotpotqa,
    infoseek,
    musique,
    nq_open,
    okvqa,
    oven,
    popqa,
    textvqa,
    vqav2,
    webqa,
)
from pixsearch.datasets.questions.question import AnnotatedQuestion

QuestionReader = Callable[[Path, str], Sequence[AnnotatedQuestion]]

QUESTION_READERS: dict[str, QuestionReader] = {
    "aokvqa": aokvqa.load,
    "crag_mm": crag_mm.load,
    "encyclopedic_vqa": encyclopedic_vqa.load,
    "gqa": gqa.load,
    "hotpotqa": hotpotqa.load,
    "infoseek": infoseek.load,
    "musique": musique.load,
    "nq_open": nq_open.load,
    "okvqa": okvqa.load,
    "oven": oven.load,
    "popqa": popqa.load,
    "textvqa": textvqa.load,
    "vqav2": vqav2.load,
    "webqa": webqa.load,
}
