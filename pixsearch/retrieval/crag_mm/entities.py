"""CRAG-MM's image search: images in, the entities that similar images show out."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from pixsearch.queries import Passage
from pixsearch.retrieval.crag_mm.collection import ROWS_PER_READ, Collection, Row

logger = logging.getLogger(__name__)

IMAGE_COLLECTION = "image_embeddings"

Infobox = dict[str, Any]  # Wikipedia's keys -> wikitext as it is


@dataclass(frozen=True, kw_only=True)
class Entity:
    """What an image shows; `infobox` is None where the index has none for it."""

    name: str
    infobox: Infobox | None

    def passage(self, score: float) -> Passage:
        return Passage(id=self.name, title=self.name, text=entity_text(self), score=score)


@dataclass(frozen=True, kw_only=True)
class ImageHit:
    """An image of the index that is similar to the query.

    Attributes:
        score: cosine similarity of the two.
        url: of the image, which the index itself does not hold.
    """

    id: str
    score: float
    url: str | None
    entities: tuple[Entity, ...]


class ImageSearch:
    """The collection of images, and the infoboxes of all that they show, in memory."""

    def __init__(self, collection: Collection, *, rows_per_read: int = ROWS_PER_READ) -> None:
        """
        Raises:
            ValueError: an image whose metadata are not CRAG-MM's.
        """
        self.collection = collection
        self._infoboxes = _read_infoboxes(collection, rows_per_read)

    def nearest(
        self, vectors: Float32[np.ndarray, "num dimension"], count: int
    ) -> list[list[ImageHit]]:
        """The `count` most similar images for each vector, as the package returns them."""
        found = self.collection.nearest(vectors, count)
        return [[self._hit(row) for row in rows] for rows in found]

    def _hit(self, row: Row) -> ImageHit:
        names = _entity_names(row.id, row.metadata, self.collection)
        return ImageHit(
            id=row.id,
            score=row.score,
            url=row.metadata.get("image_url"),
            entities=tuple(Entity(name=n, infobox=self._infoboxes.get(n)) for n in names),
        )


def entity_passages(hits: Sequence[ImageHit], k: int, *, min_score: float = -1.0) -> list[Passage]:
    """The first k entities of the hits; one that several images show counts once, at its best.

    Args:
        min_score: hits below it are left out.
    """
    best: dict[str, Passage] = {}
    for hit in (hit for hit in hits if hit.score >= min_score):
        for entity in hit.entities:
            if entity.name not in best:
                best[entity.name] = entity.passage(hit.score)
    return list(best.values())[:k]


def entity_text(entity: Entity) -> str:
    """The name, then a line for each entry of the infobox that has a value, in its order.

    Wikitext stays as it is, as in the package's results.

    >>> print(entity_text(Entity(name="Atomium", infobox={"height": "{{convert|102|m|ft}}",
    ...     "architect": "", "opened": "[[Expo 58|1958]]"})))
    Atomium
    height: {{convert|102|m|ft}}
    opened: [[Expo 58|1958]]
    >>> entity_text(Entity(name="Manneken Pis", infobox=None))
    'Manneken Pis'
    """
    entries = (entity.infobox or {}).items()
    return "\n".join([entity.name, *(f"{key}: {_plain(v)}" for key, v in entries if _plain(v))])


def _plain(value: Any) -> str:
    """A string as it is, nothing for null, JSON for what else there may be."""
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _read_infoboxes(collection: Collection, rows_per_read: int) -> dict[str, Infobox | None]:
    """Name -> infobox over all images; a later one replaces an earlier one, also by None."""
    infoboxes: dict[str, Infobox | None] = {}
    names: dict[str, str] = {}  # entity -> the first image that shows it
    for id, metadata in collection.metadatas(rows_per_read=rows_per_read):
        infoboxes.update(_infoboxes(id, metadata, collection))
        for name in _entity_names(id, metadata, collection):
            names.setdefault(name, id)
    missing = [name for name in names if name not in infoboxes]
    if missing:
        logger.warning(
            "%d entities of the %s have no infobox anywhere and are passages of their name alone, "
            "the first being %r of image %s; the official package fails on them",
            len(missing), collection.label, missing[0], names[missing[0]],
        )  # fmt: skip
    return infoboxes


def _infoboxes(
    id: str, metadata: dict[str, Any], collection: Collection
) -> Iterator[tuple[str, Infobox | None]]:
    info = _parsed(id, metadata, "info", collection)
    if not isinstance(info, dict) or not all(
        isinstance(infobox, dict | None) for infobox in info.values()
    ):
        raise _misshapen(id, "info", collection)
    yield from info.items()


def _entity_names(id: str, metadata: dict[str, Any], collection: Collection) -> list[str]:
    """One name or a list of them."""
    named = _parsed(id, metadata, "entities", collection)
    names = named if isinstance(named, list) else [named]
    if not all(isinstance(name, str) for name in names):
        raise _misshapen(id, "entities", collection)
    return names


def _parsed(id: str, metadata: dict[str, Any], field: str, collection: Collection) -> Any:
    try:
        return json.loads(metadata[field])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise _misshapen(id, field, collection) from error


def _misshapen(id: str, field: str, collection: Collection) -> ValueError:
    return ValueError(
        f"image {id} of the {collection.label} has no readable {field!r}: "
        "it is not an image index of CRAG-MM, or a broken one; fetch it again"
    )
