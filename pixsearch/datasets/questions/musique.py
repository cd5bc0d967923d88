"""MuSiQue-Ans 1.0: questions made of two to four others, answerable from Wikipedia; no images.

Layout under `root`: `musique_ans_v1.0_<split>.jsonl`. MuSiQue-Full, whose questions stand twice, is
not read.
"""

from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import require
from pixsearch.datasets.questions.question import AnnotatedQuestion, OfficialFields
from pixsearch.datasets.questions.records import KeyedLines, LazyQuestions, questions_of_lines

_WITHHELD = ("test",)
_ALWAYS = ("id", "question", "paragraphs")
_ANSWERED = ("answer", "answer_aliases", "answerable")


def load(root: Path, split: str) -> LazyQuestions:
    """The questions in the file's order.

    `supporting` are the titles of the paragraphs that the answer rests on, `evidence` their texts.
    The label `hops` is the beginning of the id: 2hop, 3hop1, 3hop2, 4hop1, 4hop2 or 4hop3.

    Args:
        split: train, dev, or test, whose answers are withheld.

    Raises:
        ValueError: the file is missing.
    """
    lines = KeyedLines(root / f"musique_ans_v1.0_{split}.jsonl", "id")
    fields = _ALWAYS if split in _WITHHELD else (*_ALWAYS, *_ANSWERED)
    return questions_of_lines(lines, lines, partial(_question, fields=fields))


def _question(record: dict[str, Any], where: str, *, fields: tuple[str, ...]) -> AnnotatedQuestion:
    require(record, *fields, where=where)
    if not record.get("answerable", True):
        raise ValueError(
            f"{where}: not answerable, as half of MuSiQue-Full; take a file of MuSiQue-Ans"
        )
    found = [each for each in record["paragraphs"] if each.get("is_supporting")]
    answer = record.get("answer")
    return AnnotatedQuestion(
        id=record["id"],
        question=record["question"],
        answers=(answer, *record.get("answer_aliases", ())) if answer else (),
        supporting=tuple(paragraph["title"] for paragraph in found),
        labels=(("hops", record["id"].split("__")[0]),),
        official=OfficialFields(evidence=tuple(each["paragraph_text"] for each in found)),
    )
