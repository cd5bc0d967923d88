"""OK-VQA: questions about COCO images that need knowledge from outside, ten answers each.

Layout under `root`: `OpenEnded_mscoco_<split>2014_questions.json` and
`mscoco_<split>2014_annotations.json`; COCO's images of 2014 in `root/<split>2014` or in
`root/../coco/<split>2014`.
"""

from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import image_key, read_json, require
from pixsearch.datasets.questions.question import AnnotatedQuestion, OfficialFields
from pixsearch.datasets.questions.records import (
    LazyQuestions,
    by_agreement,
    first_folder,
    load_question_image,
    questions_of_json,
)


def load(root: Path, split: str) -> LazyQuestions:
    """The questions in the order of their file.

    An annotator's answer stands twice in the file: as it was given, which is what is taught
    (`answers`), and stemmed, which is what the official scorer compares (`compared_answers`).

    Args:
        split: train or val.

    Raises:
        ValueError: a file is missing or broken, or a question has no annotation.
    """
    path = root / f"OpenEnded_mscoco_{split}2014_questions.json"
    content = read_json(path)
    require(content, "questions", where=str(path))
    annotations = root / f"mscoco_{split}2014_annotations.json"
    answered, type_names = _annotations(annotations)
    build = partial(
        _question,
        folder=first_folder(root / f"{split}2014", root.parent / "coco" / f"{split}2014"),
        annotated=answered,
        type_names=type_names,
        annotations=annotations,
    )
    return questions_of_json(
        path, content["questions"], build, id_field="question_id", fields=("image_id", "question")
    )


def _annotations(path: Path) -> tuple[dict[int, dict[str, Any]], dict[str, str]]:
    """Annotations by question, and the names of the types of questions, where the file has them."""
    content = read_json(path)
    require(content, "annotations", where=str(path))
    answered = {}
    for number, annotation in enumerate(content["annotations"]):
        where = f"{path}: item {number}"
        require(annotation, "question_id", "question_type", "answers", where=where)
        for answer in annotation["answers"]:
            require(answer, "answer", "raw_answer", where=f"{where}, an answer")
        if annotation["question_id"] in answered:
            raise ValueError(f"{where}: question {annotation['question_id']} is annotated twice")
        answered[annotation["question_id"]] = annotation
    return answered, content.get("question_types", {})


def _question(
    record: dict[str, Any],
    where: str,
    *,
    folder: Path,
    annotated: dict[int, dict[str, Any]],
    type_names: dict[str, str],
    annotations: Path,
) -> AnnotatedQuestion:
    if record["question_id"] not in annotated:
        raise ValueError(
            f"{where}: question {record['question_id']} is not annotated in {annotations}; fetch "
            "both files of the same release"
        )
    annotation = annotated[record["question_id"]]
    path = folder / f"COCO_{folder.name}_{record['image_id']:012d}.jpg"
    id = str(record["question_id"])
    question_type = annotation["question_type"]
    return AnnotatedQuestion(
        id=id,
        question=record["question"],
        answers=by_agreement(answer["raw_answer"] for answer in annotation["answers"]),
        image_id=image_key(path),
        load_image=partial(
            load_question_image, path, question=id, source=f"COCO's {folder.name}.zip"
        ),
        image_file=str(path),
        labels=(("question_type", type_names.get(question_type, question_type)),),
        official=OfficialFields(
            compared_answers=by_agreement(answer["answer"] for answer in annotation["answers"])
        ),
    )
