"""VQA v2.0: questions about COCO images, ten answers each.

Layout under `root`: `v2_OpenEnded_mscoco_<name>_questions.json` and, but for the test splits,
`v2_mscoco_<name>_annotations.json`, with the name train2014, val2014, test2015 or test-dev2015;
COCO's images in `root/<folder>` or in `root/../coco/<folder>`, of both test splits in `test2015`.
"""

from pathlib import Path
from typing import Any

from pixsearch.datasets.questions.records import LazyQuestions, by_agreement, first_folder
from pixsearch.datasets.questions.vqa_files import (
    VqaAnnotation,
    questions_of_vqa,
    read_annotations,
)

_FOLDERS = {"train": "train2014", "val": "val2014", "test": "test2015", "test-dev": "test2015"}
_WITHHELD = ("test", "test-dev")


def load(root: Path, split: str) -> LazyQuestions:
    """The questions in the order of their file.

    Args:
        split: train, val; test and test-dev, whose answers only the server knows.

    Raises:
        ValueError: a file is missing or broken, a question has no annotation, or there is no such
            split.
    """
    if split not in _FOLDERS:
        raise ValueError(f"VQAv2 has no split {split!r}; there are: {', '.join(_FOLDERS)}")
    folder = _FOLDERS[split]
    name = f"{split}{folder[-4:]}"
    annotations = None if split in _WITHHELD else root / f"v2_mscoco_{name}_annotations.json"
    return questions_of_vqa(
        root / f"v2_OpenEnded_mscoco_{name}_questions.json",
        folder=first_folder(root / folder, root.parent / "coco" / folder),
        annotations=annotations,
        answered={} if annotations is None else _answered(annotations),
    )


def _answered(path: Path) -> dict[int, VqaAnnotation]:
    fields = ("question_type", "answer_type")
    return read_annotations(path, _annotation, fields=fields, answer_fields=("answer",))


def _annotation(annotation: dict[str, Any], content: dict[str, Any]) -> VqaAnnotation:
    return VqaAnnotation(
        answers=by_agreement(answer["answer"] for answer in annotation["answers"]),
        labels=tuple((label, annotation[label]) for label in ("question_type", "answer_type")),
    )
