"""OK-VQA: questions about COCO images that need knowledge from outside, ten answers each.

Layout under `root`: `OpenEnded_mscoco_<split>2014_questions.json` and
`mscoco_<split>2014_annotations.json`; COCO's images of 2014 in `root/<split>2014` or in
`root/../coco/<split>2014`.
"""

from pathlib import Path
from typing import Any

from pixsearch.datasets.questions.question import OfficialFields
from pixsearch.datasets.questions.records import LazyQuestions, by_agreement, first_folder
from pixsearch.datasets.questions.vqa_files import (
    VqaAnnotation,
    questions_of_vqa,
    read_annotations,
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
    annotations = root / f"mscoco_{split}2014_annotations.json"
    return questions_of_vqa(
        root / f"OpenEnded_mscoco_{split}2014_questions.json",
        folder=first_folder(root / f"{split}2014", root.parent / "coco" / f"{split}2014"),
        annotations=annotations,
        answered=read_annotations(
            annotations,
            _annotation,
            fields=("question_type",),
            answer_fields=("answer", "raw_answer"),
        ),
    )


def _annotation(annotation: dict[str, Any], content: dict[str, Any]) -> VqaAnnotation:
    kind = annotation["question_type"]
    return VqaAnnotation(
        answers=by_agreement(answer["raw_answer"] for answer in annotation["answers"]),
        labels=(("question_type", content.get("question_types", {}).get(kind, kind)),),
        official=OfficialFields(
            compared_answers=by_agreement(answer["answer"] for answer in annotation["answers"])
        ),
    )
