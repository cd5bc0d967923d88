"""ReasonSeg: masks of what a phrase or a whole sentence asks for, some with an explanation.

Layout under `root` (for instance `data/reason_seg/ReasonSeg`): `<split>/<name>.jpg` with
`<split>/<name>.json`, and `explanatory/train.json`, a list of `{image, query, outputs}`.

    {"text": [1 to 5 wordings of one query], "is_sentence": true,
     "shapes": [{"label": "target" | "ignore" | "flag", "points": [[x, y], …]}]}

"ignore" is a region of unknown label, "flag" a remnant of the annotation tool.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.chat import Conversation, Grounded, Message, Part, Role, Text
from pixsearch.datasets.example import Example
from pixsearch.datasets.files import image_key, load_image, read_json, require
from pixsearch.datasets.grounding import GroundedImage, masked_example
from pixsearch.datasets.lazy import BrokenRecord, LazyExamples
from pixsearch.datasets.shapes import Shape, Shapes
from pixsearch.datasets.templates import (
    ask,
    ask_for_reasons,
    ask_with_sentence,
    pick,
    reply,
    reply_to_sentence,
)

_EXPLAINED = "train"  # the split that has explanations
_FEWEST_CORNERS = 3
_FLAG, _IGNORE = "flag", "ignore"
_MASK, _MASK_AND_WORDS, _WORDS = "mask", "mask and words", "words"
# Where there is an explanation, LISA answers one query in ten with it alone, and half of the others
# with the mask alone.
_FORMS = (*[_WORDS] * 2, *[_MASK] * 9, *[_MASK_AND_WORDS] * 9)


@dataclass(frozen=True, kw_only=True)
class ReasonSegQuery:
    """One wording of what is asked about an image.

    Attributes:
        explanation: None if there is none.
    """

    id: str
    text: str
    is_sentence: bool
    shapes: Shapes
    explanation: str | None


def load(root: Path, split: str) -> LazyExamples:
    """One example per image and wording, answered by a mask, by the explanation, or by both.

    Args:
        split: train, val or test.

    Raises:
        ValueError: the folder has no annotation, or the explanations are missing or broken.
    """
    paths = _annotations(root, split)
    explained: dict[str, str] = {}
    if split == _EXPLAINED:
        explained = _explanations(root / "explanatory" / f"{split}.json")
    return LazyExamples([each for path in paths for each in _queries(path, explained)], _example)


def first_queries(root: Path, split: str) -> list[ReasonSegQuery]:
    """The first wording of each image's query: what is evaluated.

    Raises:
        ValueError: the folder has no annotation, or one of them is broken.
    """
    found = []
    for path in _annotations(root, split):
        first = next(_queries(path, {}))
        if isinstance(first, BrokenRecord):
            raise ValueError(first.reason)
        found.append(first)
    return found


def question_and_answer(query: ReasonSegQuery) -> tuple[str, tuple[Part, ...]]:
    """The words that ask for a query's mask, and an answer that grounds one phrase."""
    return _asked(query), _grounded(query)


def _annotations(root: Path, split: str) -> list[Path]:
    paths = sorted((root / split).glob("*.json"))
    if not paths:
        raise ValueError(f"{root / split}: no .json in it; data/README.md says what goes where")
    return paths


def _explanations(path: Path) -> dict[str, str]:
    """The explanation of each image that has one, by the image's file name."""
    for item in (items := read_json(path)):
        require(item, "image", "query", "outputs", where=f"{path}: an explanation")
    return {item["image"]: item["outputs"] for item in items}


def _queries(path: Path, explained: Mapping[str, str]) -> Iterator[ReasonSegQuery | BrokenRecord]:
    image = path.with_suffix(".jpg")
    try:
        content = _read(path)
        require(content, "text", "is_sentence", "shapes", where=str(path))
        if not content["text"] or not all(text.strip() for text in content["text"]):
            raise ValueError(f"{path}: a query without words; write one, or take the file out")
        shapes = Shapes(image=image, shapes=_shapes(content["shapes"], path))
    except ValueError as error:
        yield BrokenRecord(reason=str(error))
        return
    for place, text in enumerate(content["text"]):
        yield ReasonSegQuery(
            id=f"{path.stem}/{place}",
            text=text.strip(),
            is_sentence=content["is_sentence"],
            shapes=shapes,
            explanation=explained.get(image.name),
        )


def _read(path: Path) -> Any:
    """Some of the official files are in the encoding of western Windows."""
    content = path.read_bytes()
    try:
        try:
            return json.loads(content.decode("utf-8"))
        except UnicodeDecodeError:
            return json.loads(content.decode("cp1252"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error}); fetch it again") from error


def _shapes(shapes: list[dict[str, Any]], path: Path) -> tuple[Shape, ...]:
    found = []
    for shape in shapes:
        require(shape, "label", "points", where=f"{path}: a shape")
        label = shape["label"].lower()
        if label == _FLAG:
            continue
        points = _points(shape["points"], path)
        found.append(Shape(points=points, is_target=_IGNORE not in label))
    if not any(shape.is_target for shape in found):
        raise ValueError(f"{path}: no shape with the label 'target'; add one, or take the file out")
    return tuple(found)


def _points(points: list[list[int | float]], path: Path) -> tuple[tuple[float, float], ...]:
    if len(points) < _FEWEST_CORNERS or any(len(point) != 2 for point in points):
        raise ValueError(f"{path}: a shape of {points}; 3 points of 2 numbers each are needed")
    return tuple((float(x), float(y)) for x, y in points)


def _example(query: ReasonSegQuery) -> Example:
    form = _MASK if query.explanation is None else pick(_FORMS, f"form/{query.id}")
    if form == _WORDS:
        return _explained(query)
    question, answer = _asked(query), _grounded(query)
    if form == _MASK_AND_WORDS:
        question = f"{question} {ask_for_reasons(key=query.id)}"
        answer = (*answer, Text(text=f" {query.explanation}"))
    phrases = tuple(part.phrase for part in answer if isinstance(part, Grounded))
    record = GroundedImage(
        id=query.id, image=query.shapes.image, phrases=phrases, annotation=query.shapes
    )
    return masked_example(record, _conversation(question, answer))


def _explained(query: ReasonSegQuery) -> Example:
    """The example of a query that is answered by its explanation alone."""
    assert query.explanation is not None
    image = query.shapes.image
    return Example(
        id=query.id,
        conversation=_conversation(query.text, (Text(text=query.explanation),)),
        image_id=image_key(image),
        load_image=partial(load_image, image, example=query.id),
    )


def _asked(query: ReasonSegQuery) -> str:
    if query.is_sentence:
        return ask_with_sentence(query.text, key=query.id)
    return ask([query.text], key=query.id)


def _grounded(query: ReasonSegQuery) -> tuple[Part, ...]:
    """A phrase is grounded itself; of a sentence, words that stand for what it asks for."""
    if query.is_sentence:
        return reply_to_sentence(key=query.id)
    return reply([query.text], key=query.id)


def _conversation(question: str, answer: tuple[Part, ...]) -> Conversation:
    asked = Message(role=Role.USER, parts=(Text(text=question),))
    return Conversation(
        messages=(asked, Message(role=Role.ASSISTANT, parts=answer)), has_image=True
    )
