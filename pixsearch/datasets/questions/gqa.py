"""GQA 1.2: questions made from the scene graphs of images, one short answer each.

Layout under `root`: `<split>_questions.json`, in `root` or in `root/questions`; images in
`root/images`.
"""

from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import image_key, read_json
from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.datasets.questions.records import (
    LazyQuestions,
    first_folder,
    load_question_image,
    questions_of_json,
)

_WITHHELD = ("test_", "challenge_", "submission_")  # beginnings of splits
_TYPES = ("structural", "semantic")


def load(root: Path, split: str) -> LazyQuestions:
    """The questions in the file's order.

    Args:
        split: beginning of the file's name: testdev_balanced, val_balanced, train_balanced and so
            on. The parts of train_all are not joined.

    Raises:
        ValueError: the file is missing or broken.
    """
    path = first_folder(root / "questions", root) / f"{split}_questions.json"
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a {type(content).__name__}, not the object of GQA's questions")
    records = [_with_id(record, id) for id, record in content.items()]
    answered = () if split.startswith(_WITHHELD) else ("answer", "types")
    return questions_of_json(
        path,
        records,
        partial(_question, folder=root / "images"),
        id_field="id",
        fields=("question", "imageId", *answered),
    )


def _with_id(record: Any, id: str) -> Any:
    return record | {"id": id} if isinstance(record, dict) else record


def _question(record: dict[str, Any], where: str, *, folder: Path) -> AnnotatedQuestion:
    path = folder / f"{record['imageId']}.jpg"
    id, types = record["id"], record.get("types", {})
    return AnnotatedQuestion(
        id=id,
        question=record["question"],
        answers=(record["answer"],) if "answer" in record else (),
        image_id=image_key(path),
        load_image=partial(load_question_image, path, question=id, source="GQA's images.zip"),
        image_file=str(path),
        labels=tuple((kind, types[kind]) for kind in _TYPES if types.get(kind)),
    )
