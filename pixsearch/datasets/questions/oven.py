"""OVEN: which of six million Wikipedia entities does an image show?

Layout under `root`: `oven_<split>.jsonl` and the folder `oven_images`, see oven_images.py.
"""

from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import image_key, require
from pixsearch.datasets.questions.oven_images import SOURCE, oven_image
from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.datasets.questions.records import (
    KeyedLines,
    LazyQuestions,
    load_question_image,
    questions_of_lines,
)

_ALWAYS = ("data_id", "image_id", "question", "data_split")
_WITHHELD = ("entity_test", "query_test", "human")


def load(root: Path, split: str) -> LazyQuestions:
    """The questions in the file's order; the five million of `entity_train` are never held.

    Args:
        split: entity_train, query_train, entity_val, query_val; and entity_test, query_test and
            human, which may come without the entity.

    Raises:
        ValueError: the file is missing.
    """
    lines = KeyedLines(root / f"oven_{split}.jsonl", "data_id")
    fields = _ALWAYS if split in _WITHHELD else (*_ALWAYS, "entity_id", "entity_text")
    build = partial(_question, folder=root / "oven_images", fields=fields)
    return questions_of_lines(lines, lines, build)


def _question(
    record: dict[str, Any], where: str, *, folder: Path, fields: tuple[str, ...]
) -> AnnotatedQuestion:
    require(record, *fields, where=where)
    path = oven_image(folder, record["image_id"], where=where)
    id, name = record["data_id"], record.get("entity_text")
    return AnnotatedQuestion(
        id=id,
        question=record["question"],
        answers=(name,) if name else (),
        image_id=image_key(path),
        load_image=partial(load_question_image, path, question=id, source=SOURCE),
        image_file=str(path),
        entity_id=record.get("entity_id"),
        labels=(("data_split", record["data_split"]),),
    )
