"""TextVQA 0.5.1: questions about the words that an image shows, ten answers each.

Layout under `root`: `TextVQA_0.5.1_<split>.json`; the images of train and val in `train_images`,
those of test in `test_images`; beside them, if they are wanted, the words that Rosetta read in the
images, `TextVQA_Rosetta_OCR_v0.2_<split>.json`.
"""

from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import image_key, read_json, require
from pixsearch.datasets.questions.question import AnnotatedQuestion, OfficialFields
from pixsearch.datasets.questions.records import (
    LazyQuestions,
    by_agreement,
    load_question_image,
    questions_of_json,
)

_ARCHIVES = {"train_images": "train_val_images.zip", "test_images": "test_images.zip"}
_WITHHELD = ("test",)


def load(root: Path, split: str) -> LazyQuestions:
    """The questions in the file's order.

    Args:
        split: train, val or test, whose answers are withheld.

    Raises:
        ValueError: the file is missing or broken.
    """
    path = root / f"TextVQA_0.5.1_{split}.json"
    content = read_json(path)
    require(content, "data", where=str(path))
    folder = "test_images" if split == "test" else "train_images"
    fields = ("question", "image_id", *(() if split in _WITHHELD else ("answers",)))
    read = image_words_file(root, split)
    others = [read] if read.is_file() else []
    build = partial(_question, folder=root / folder, words=_words(read) if others else {})
    return questions_of_json(
        path, content["data"], build, id_field="question_id", fields=fields, others=others
    )


def image_words_file(root: Path, split: str) -> Path:
    """Where Rosetta's words are looked for. It has been replaced and left out before."""
    return root / f"TextVQA_Rosetta_OCR_v0.2_{split}.json"


def _words(path: Path) -> dict[str, tuple[str, ...]]:
    """Words by image."""
    content = read_json(path)
    require(content, "data", where=str(path))
    for number, image in enumerate(content["data"]):
        require(image, "image_id", "ocr_tokens", where=f"{path}: item {number}")
    return {image["image_id"]: tuple(image["ocr_tokens"]) for image in content["data"]}


def _question(
    record: dict[str, Any], where: str, *, folder: Path, words: dict[str, tuple[str, ...]]
) -> AnnotatedQuestion:
    path = folder / f"{record['image_id']}.jpg"
    id = str(record["question_id"])
    source = f"{_ARCHIVES[folder.name]} of TextVQA"
    return AnnotatedQuestion(
        id=id,
        question=record["question"],
        answers=by_agreement(record.get("answers", ())),
        image_id=image_key(path),
        load_image=partial(load_question_image, path, question=id, source=source),
        image_file=str(path),
        official=OfficialFields(image_words=words.get(record["image_id"], ())),
    )
