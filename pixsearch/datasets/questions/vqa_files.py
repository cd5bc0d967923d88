"""The two files of a VQA set: its questions, and its annotators' answers (VQAv2, OK-VQA)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import image_key, read_json, require
from pixsearch.datasets.questions.question import AnnotatedQuestion, OfficialFields
from pixsearch.datasets.questions.records import (
    LazyQuestions,
    load_question_image,
    questions_of_json,
)


@dataclass(frozen=True, kw_only=True)
class VqaAnnotation:
    """What is kept of an annotation, as `AnnotatedQuestion` has it."""

    answers: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    official: OfficialFields = field(default_factory=OfficialFields)


Annotations = dict[int, VqaAnnotation]


def read_annotations(
    path: Path,
    keep: Callable[[dict[str, Any], dict[str, Any]], VqaAnnotation],
    *,
    fields: tuple[str, ...],
    answer_fields: tuple[str, ...],
) -> Annotations:
    """Annotations by question.

    Args:
        keep: what to make of an annotation and the file's whole content.
        fields: what each annotation must have beside `question_id` and `answers`.
        answer_fields: what each of its answers must have.

    Raises:
        ValueError: the file is missing or broken, or a question is annotated twice.
    """
    content = read_json(path)
    require(content, "annotations", where=str(path))
    answered: Annotations = {}
    for number, annotation in enumerate(content["annotations"]):
        where = f"{path}: item {number}"
        require(annotation, "question_id", *fields, "answers", where=where)
        for answer in annotation["answers"]:
            require(answer, *answer_fields, where=f"{where}, an answer")
        if annotation["question_id"] in answered:
            raise ValueError(f"{where}: question {annotation['question_id']} is annotated twice")
        answered[annotation["question_id"]] = keep(annotation, content)
    return answered


def questions_of_vqa(
    path: Path, *, folder: Path, annotations: Path | None, answered: Annotations
) -> LazyQuestions:
    """The questions in the order of their file.

    Args:
        folder: of the images, COCO's name for them.
        annotations: None where a test split withholds them.

    Raises:
        ValueError: the file is missing or broken.
    """
    content = read_json(path)
    require(content, "questions", where=str(path))
    build = partial(_question, folder=folder, annotations=annotations, answered=answered)
    return questions_of_json(
        path,
        content["questions"],
        build,
        id_field="question_id",
        fields=("image_id", "question"),
        others=[] if annotations is None else [annotations],
    )


def _question(
    record: dict[str, Any],
    where: str,
    *,
    folder: Path,
    annotations: Path | None,
    answered: Annotations,
) -> AnnotatedQuestion:
    number = record["question_id"]
    if annotations is not None and number not in answered:
        raise ValueError(
            f"{where}: question {number} is not annotated in {annotations}; fetch both files of "
            "the same release"
        )
    annotation = answered.get(number, VqaAnnotation())
    path = folder / f"COCO_{folder.name}_{record['image_id']:012d}.jpg"
    id = str(number)
    return AnnotatedQuestion(
        id=id,
        question=record["question"],
        answers=annotation.answers,
        image_id=image_key(path),
        load_image=partial(
            load_question_image, path, question=id, source=f"COCO's {folder.name}.zip"
        ),
        image_file=str(path),
        labels=annotation.labels,
        official=annotation.official,
    )
