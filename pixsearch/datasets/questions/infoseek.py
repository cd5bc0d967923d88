"""InfoSeek: questions about what an image shows whose answers stand in Wikipedia.

Layout under `root`: `infoseek_<split>.jsonl`; for train and val `infoseek_<split>_withkb.jsonl`,
the entity of each question; for val `infoseek_val_qtype.jsonl`, by which the official scorer
chooses its metric. Images are OVEN's, in `root/oven_images` or `root/../oven/oven_images`.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import image_key, require
from pixsearch.datasets.questions.oven_images import SOURCE, oven_image
from pixsearch.datasets.questions.question import AnnotatedQuestion, OfficialFields
from pixsearch.datasets.questions.records import (
    KeyedLines,
    LazyQuestions,
    first_folder,
    load_question_image,
    questions_of_lines,
)

_ALWAYS = ("data_id", "image_id", "question")
_ANSWERED = ("answer", "answer_eval", "data_split", "entity_id", "entity_text")
_JOINED = {"train": ("withkb",), "val": ("withkb", "qtype")}


class JoinedLines(Sequence):
    """The lines of a file, each with what other files say of the same `data_id`."""

    def __init__(self, lines: KeyedLines, others: Sequence[KeyedLines]) -> None:
        self._lines = lines
        self._others = others

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        record = self._lines[index]
        require(record, "data_id", where=self._lines.where(index))
        for other in self._others:
            record = other.find(record["data_id"], near=index) | record
        return record


def load(root: Path, split: str) -> LazyQuestions:
    """The questions in the file's order; the 934,048 of train are never held.

    Args:
        split: train, val, or test and human, whose answers are withheld.

    Raises:
        ValueError: a file is missing.
    """
    lines = KeyedLines(root / f"infoseek_{split}.jsonl", "data_id")
    others = [
        KeyedLines(root / f"infoseek_{split}_{name}.jsonl", "data_id")
        for name in _JOINED.get(split, ())
    ]
    fields = (*_ALWAYS, *_ANSWERED) if split in _JOINED else _ALWAYS
    folder = first_folder(root / "oven_images", root.parent / "oven" / "oven_images")
    build = partial(_question, folder=folder, fields=fields)
    return questions_of_lines(
        lines, JoinedLines(lines, others), build, others=[other.path for other in others]
    )


def _question(
    record: dict[str, Any], where: str, *, folder: Path, fields: tuple[str, ...]
) -> AnnotatedQuestion:
    require(record, *fields, where=where)
    path = oven_image(folder, record["image_id"], where=where)
    id = record["data_id"]
    labels = [(name, record[name]) for name in ("data_split", "question_type") if name in record]
    return AnnotatedQuestion(
        id=id,
        question=record["question"],
        answers=tuple(str(answer) for answer in record.get("answer") or ()),
        image_id=image_key(path),
        load_image=partial(load_question_image, path, question=id, source=SOURCE),
        image_file=str(path),
        entity_id=record.get("entity_id"),
        supporting=(record["entity_text"],) if record.get("entity_text") else (),
        labels=tuple(labels),
        official=_official(record.get("answer_eval") or (), where),
    )


def _official(answer_eval: Any, where: str) -> OfficialFields:
    """Texts, or the range of a number: `{"wikidata": 1.0, "range": [0.9, 1.1]}` or a list of it."""
    first = answer_eval if isinstance(answer_eval, dict) else next(iter(answer_eval), None)
    if not isinstance(first, dict):
        return OfficialFields(compared_answers=tuple(str(form) for form in answer_eval))
    require(first, "range", where=f"{where}: answer_eval")
    lowest, highest = (float(bound) for bound in first["range"][:2])
    return OfficialFields(answer_range=(lowest, highest))
