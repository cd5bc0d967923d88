"""A-OKVQA 1.0: COCO questions with four choices, ten free answers and three reasons.

Layout under `root`: `aokvqa_v1p0_<split>.json`; COCO's images of 2017 in `root/<split>2017` or in
`root/../coco/<split>2017`.
"""

from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import image_key, read_json
from pixsearch.datasets.questions.question import AnnotatedQuestion, OfficialFields
from pixsearch.datasets.questions.records import (
    LazyQuestions,
    by_agreement,
    first_folder,
    load_question_image,
    questions_of_json,
)

_WITHHELD = ("test",)
_ALWAYS = ("image_id", "question", "choices", "difficult_direct_answer")
_ANSWERS = ("correct_choice_idx", "direct_answers", "rationales")


def load(root: Path, split: str) -> LazyQuestions:
    """The questions in the file's order.

    The label `difficult_direct_answer` is `true` for those that the official scorer leaves out of
    the free answers.

    Args:
        split: train, val or test, whose answers are withheld.

    Raises:
        ValueError: the file is missing or no JSON list.
    """
    path = root / f"aokvqa_v1p0_{split}.json"
    records = read_json(path)
    if not isinstance(records, list):
        raise ValueError(f"{path}: a {type(records).__name__}, not the list of A-OKVQA's questions")
    fields = _ALWAYS if split in _WITHHELD else (*_ALWAYS, *_ANSWERS)
    folder = first_folder(root / f"{split}2017", root.parent / "coco" / f"{split}2017")
    build = partial(_question, folder=folder)
    return questions_of_json(path, records, build, id_field="question_id", fields=fields)


def _question(record: dict[str, Any], where: str, *, folder: Path) -> AnnotatedQuestion:
    path = folder / f"{record['image_id']:012d}.jpg"
    id = record["question_id"]
    choices = tuple(record["choices"])
    correct = record.get("correct_choice_idx")
    if correct is not None and correct not in range(len(choices)):
        raise ValueError(f"{where}: correct_choice_idx is {correct}, of {len(choices)} choices")
    difficult = "true" if record["difficult_direct_answer"] else "false"
    return AnnotatedQuestion(
        id=id,
        question=record["question"],
        answers=by_agreement(record.get("direct_answers", ())),
        image_id=image_key(path),
        load_image=partial(
            load_question_image, path, question=id, source=f"COCO's {folder.name}.zip"
        ),
        image_file=str(path),
        labels=(("difficult_direct_answer", difficult),),
        official=OfficialFields(
            choices=choices, correct_choice=correct, rationales=tuple(record.get("rationales", ()))
        ),
    )
