"""What is known of a benchmark's samples. Scores, controls and report read it, generation never."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from pixsearch.config import QueryType
from pixsearch.datasets.files import JsonLines, require
from pixsearch.datasets.masks import Rle, decode_segmentation


class SceneKind(StrEnum):
    EGOCENTRIC = "egocentric"
    NON_EGOCENTRIC = "non_egocentric"
    NONE = "none"  # a question without an image


@dataclass(frozen=True, kw_only=True)
class GoldSearch:
    """A search of the annotated trajectory.

    Attributes:
        entity_id: the document that it should find.
        mask: of the entity, in the image's own pixels; None for a search by words.
    """

    type: QueryType
    entity_id: str
    mask: Rle | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Gold:
    """The annotation of one question: a line of diagnostics.jsonl.

    Attributes:
        needs_search: no rule of the world lets the image alone answer it.
        searches: of the shortest trajectory that answers it, in order.
        pair_id: shared by two questions of the same words of which one needs search.
        answer_kind: what is asked for, e.g. country, name, year.
    """

    interaction_id: str
    image_id: str | None
    scene_kind: SceneKind
    question_type: str
    answer_kind: str
    needs_search: bool
    answerable: bool
    answer: str
    aliases: tuple[str, ...]
    searches: tuple[GoldSearch, ...]
    pair_id: str | None = None

    @property
    def cluster(self) -> str:
        """What is drawn together by a bootstrap: the image; a question without one is its own."""
        return self.image_id or self.interaction_id


@dataclass(frozen=True, kw_only=True)
class ScenePhrase:
    """One object of a segmentation scene.

    Attributes:
        is_lookalike: the scene shows another object of its silhouette.
    """

    phrase: str
    mask: Rle
    entity_id: str
    is_lookalike: bool


@dataclass(frozen=True, kw_only=True)
class SegmentationScene:
    """A question whose answer grounds each phrase in order: a line of segmentation.jsonl."""

    image_id: str
    load_image: Callable[[], Image.Image]
    question: str
    phrases: tuple[ScenePhrase, ...]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A question put to the model, with what its answer is compared with."""

    question: str
    load_image: Callable[[], Image.Image] | None
    gold: Gold

    @property
    def id(self) -> str:
        return self.gold.interaction_id


def read_gold(path: Path) -> dict[str, Gold]:
    """diagnostics.jsonl by interaction id.

    Raises:
        ValueError: a line is broken, lacks a field, or repeats an id; names file and line.
    """
    found: dict[str, Gold] = {}
    for where, record in _records(path):
        try:
            gold = _parse_gold(record)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{where}: not gold ({error!r}); rebuild the world") from error
        if gold.interaction_id in found:
            raise ValueError(f"{where}: {gold.interaction_id!r} occurs twice; rebuild the world")
        found[gold.interaction_id] = gold
    return found


def read_scenes(path: Path, load: Callable[[str, str], Image.Image]) -> list[SegmentationScene]:
    """segmentation.jsonl.

    Args:
        load: (relative path, image id) → the image.

    Raises:
        ValueError: a line is broken or lacks a field; names file and line.
    """
    scenes = []
    for where, record in _records(path):
        require(record, "image_id", "image", "question", "phrases", where=where)
        scenes.append(
            SegmentationScene(
                image_id=record["image_id"],
                load_image=lambda record=record: load(record["image"], record["image_id"]),
                question=record["question"],
                phrases=tuple(_parse_phrase(phrase, where) for phrase in record["phrases"]),
            )
        )
    return scenes


def decode_rle(mask: Rle) -> Bool[np.ndarray, "height width"]:
    """A mask of its own size."""
    height, width = mask["size"]
    return decode_segmentation(mask, height=height, width=width)


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = JsonLines(path)
    return ((lines.where(index), record) for index, record in enumerate(lines))


def _parse_gold(record: dict[str, Any]) -> Gold:
    searches = tuple(
        GoldSearch(
            type=QueryType(search["type"]),
            entity_id=search["entity_id"],
            mask=search.get("mask"),
            text=search.get("text"),
        )
        for search in record["searches"]
    )
    return Gold(
        interaction_id=record["interaction_id"],
        image_id=record["image_id"],
        scene_kind=SceneKind(record["scene_kind"]),
        question_type=record["question_type"],
        answer_kind=record["answer_kind"],
        needs_search=record["needs_search"],
        answerable=record["answerable"],
        answer=record["answer"],
        aliases=tuple(record["aliases"]),
        searches=searches,
        pair_id=record.get("pair_id"),
    )


def _parse_phrase(record: dict[str, Any], where: str) -> ScenePhrase:
    require(record, "phrase", "mask", "entity_id", "lookalike", where=where)
    return ScenePhrase(
        phrase=record["phrase"],
        mask=record["mask"],
        entity_id=record["entity_id"],
        is_lookalike=record["lookalike"],
    )
