"""The searcher of CRAG-MM's indexes: queries of any type in, passages out."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from pixsearch.config import EncoderOptions, QueryType, RegionCrop, RetrievalOptions, to_dict
from pixsearch.queries import Passage, Query, check_k, has_words
from pixsearch.retrieval.crag_mm.collection import Collection, open_collection
from pixsearch.retrieval.crag_mm.entities import IMAGE_COLLECTION, ImageSearch, entity_passages
from pixsearch.retrieval.crag_mm.pages import WEB_COLLECTION, WebSearch, page_passages
from pixsearch.retrieval.crag_mm.private_copy import installed_chromadb
from pixsearch.retrieval.encoders import (
    ImageEncoder,
    TextEncoder,
    open_image_encoder,
    open_text_encoder,
)
from pixsearch.retrieval.info import REGION_SETTINGS, SourceInfo
from pixsearch.retrieval.manifest import Identity, encoder_identity
from pixsearch.retrieval.regions import ImageQuery, ImageQueryEncoder

SETTINGS = ("num_images", "num_chunks", "min_image_score")  # fields of CragMMOptions


@dataclass(frozen=True, kw_only=True)
class EntitySearch:
    """Images and regions in, entities as passages out.

    Attributes:
        encode: images and regions to unit vectors.
        num_images: asked of the index for each query.
        min_score: cosine below which an image's entities are left out.
        identity: of index and encoder.
    """

    encode: Callable[[list[ImageQuery]], Float32[np.ndarray, "num dimension"]]
    images: ImageSearch
    num_images: int
    min_score: float
    identity: Identity

    def search(self, queries: list[ImageQuery], k: int) -> list[list[Passage]]:
        """At most k entities for each image; one call of encoder and index for all."""
        hits = self.images.nearest(self.encode(queries), max(k, self.num_images))
        return [entity_passages(found, k, min_score=self.min_score) for found in hits]


@dataclass(frozen=True, kw_only=True)
class PageSearch:
    """Texts in, web pages as passages out.

    Attributes:
        encode: texts to unit vectors.
        num_chunks: asked of the index for each query; the pages are fewer.
        identity: of index and encoder.
    """

    encode: Callable[[list[str]], Float32[np.ndarray, "num dimension"]]
    web: WebSearch
    num_chunks: int
    identity: Identity

    def search(self, queries: list[str], k: int) -> list[list[Passage]]:
        """At most k pages for each text; one call of encoder and index for all."""
        hits = self.web.nearest(self.encode(queries), max(k, self.num_chunks))
        return [page_passages(found, k) for found in hits]


class CragMMSearcher:
    """Finds what the package cragmm-search-pipeline finds, for many queries in one call.

    An image or region finds the entities that similar images show, a text finds web pages. A
    query's type is never guessed from its words, as the package does with addresses and names of
    files. `CragMMSearcher.open(options)` opens private copies of the indexes. For one thread of one
    process.
    """

    def __init__(
        self, entities: EntitySearch | None, pages: PageSearch | None, options: RetrievalOptions
    ) -> None:
        """
        Args:
            entities, pages: None: image and region queries, or text queries, are refused.
        """
        self._entities = entities
        self._pages = pages
        self._options = options

    @classmethod
    def open(cls, options: RetrievalOptions) -> "CragMMSearcher":
        """Copy the indexes if need be, open them, and load the encoders of their queries.

        Raises:
            ValueError: no index is asked for, or one is missing, unreadable, or of another
                dimension than its encoder.
        """
        image_index, web_index = options.crag_mm.image_index, options.crag_mm.web_index
        if image_index is None and web_index is None:
            raise ValueError(
                "retrieval.source=crag_mm without an index: set retrieval.crag_mm.image_index, "
                "web_index or both"
            )
        return cls(
            None if image_index is None else _open_entities(options, image_index),
            None if web_index is None else _open_pages(options, web_index),
            options,
        )

    def search(
        self,
        queries: Sequence[Query],
        k: int = 5,
        *,
        region_crop: RegionCrop = RegionCrop.masked_crop,
    ) -> list[list[Passage]]:
        """At most k entities or pages for each query, nearest first.

        All texts are encoded together, and so are all whole images and regions. A text query
        without words finds nothing.

        Raises:
            ValueError: k < 1, an empty mask, a query for an index that was not given, or
                `mask_pooled`, which CLIP has no patches for.
        """
        check_k(k)
        texts = {
            place: query.text
            for place, query in enumerate(queries)
            if query.type is QueryType.text and has_words(query.text)
        }
        images = {
            place: ImageQuery.of(query, region_crop)
            for place, query in enumerate(queries)
            if query.type is not QueryType.text
        }
        found = dict(zip(texts, self._find_pages(list(texts.values()), k), strict=True))
        found |= zip(images, self._find_entities(list(images.values()), k), strict=True)
        return [found.get(place, []) for place in range(len(queries))]

    def info(self) -> SourceInfo:
        """What is searched."""
        sides: dict[str, tuple[Identity, Collection]] = {}
        if self._entities is not None:
            sides["image"] = (self._entities.identity, self._entities.images.collection)
        if self._pages is not None:
            sides["text"] = (self._pages.identity, self._pages.web.collection)
        plain = to_dict(self._options)
        return SourceInfo(
            manifests={name: _described(*side) for name, side in sides.items()},
            corpus_sha256=_digest(collection.stamp.sha256 for _, collection in sides.values()),
            num_documents=sum(len(collection) for _, collection in sides.values()),
            settings={name: plain["crag_mm"][name] for name in SETTINGS}
            | {name: plain[name] for name in REGION_SETTINGS},
        )

    def _find_entities(self, images: list[ImageQuery], k: int) -> list[list[Passage]]:
        if not images:
            return []
        if self._entities is None:
            raise ValueError(
                "retrieval.crag_mm.image_index=null, so images find nothing: "
                "set policy.allow=[text], or give an index"
            )
        return self._entities.search(images, k)

    def _find_pages(self, texts: list[str], k: int) -> list[list[Passage]]:
        if not texts:
            return []
        if self._pages is None:
            raise ValueError(
                "retrieval.crag_mm.web_index=null, so texts find nothing: "
                "set policy.allow=[image,region], or give an index"
            )
        return self._pages.search(texts, k)


def _open_entities(options: RetrievalOptions, index: str) -> EntitySearch:
    encoder, source = open_image_encoder(options.image_encoder), options.crag_mm
    collection = open_collection(
        IMAGE_COLLECTION,
        source=index,
        revision=source.image_revision,
        copies=Path(source.copies),
    )
    _refuse_misfit(encoder, collection, "image_encoder")
    return EntitySearch(
        encode=ImageQueryEncoder(encoder, options).encode,
        images=ImageSearch(collection),
        num_images=source.num_images,
        min_score=source.min_image_score,
        identity=_identity(options.image_encoder, encoder, collection),
    )


def _open_pages(options: RetrievalOptions, index: str) -> PageSearch:
    encoder, source = open_text_encoder(options.text_encoder), options.crag_mm
    collection = open_collection(
        WEB_COLLECTION,
        source=index,
        revision=source.web_revision,
        copies=Path(source.copies),
    )
    _refuse_misfit(encoder, collection, "text_encoder")
    if documents := options.text_encoder.document_prefix:
        raise ValueError(
            f"retrieval.text_encoder.document_prefix={documents!r}: CRAG-MM's documents are "
            "encoded already, leave it ''"
        )
    prefix = options.text_encoder.prefix
    return PageSearch(
        encode=lambda texts: encoder.encode_text([prefix + text for text in texts]),
        web=WebSearch(collection),
        num_chunks=source.num_chunks,
        identity=_identity(options.text_encoder, encoder, collection),
    )


def _refuse_misfit(encoder: TextEncoder | ImageEncoder, collection: Collection, role: str) -> None:
    if encoder.dimension != collection.dimension:
        raise ValueError(
            f"the {collection.label} holds vectors of {collection.dimension} dimensions, "
            f"retrieval.{role} makes {encoder.dimension}: configs/retrieval/crag_mm.yaml names the "
            "encoders of the published indexes"
        )


def _identity(
    options: EncoderOptions, encoder: TextEncoder | ImageEncoder, collection: Collection
) -> Identity:
    return encoder_identity(
        options,
        fingerprint=encoder.fingerprint,
        corpus_sha256=collection.stamp.sha256,
        factory="chroma",
    )


def _described(identity: Identity, collection: Collection) -> dict[str, Any]:
    """What our own indexes say in their manifests, as far as it is known of a published one."""
    return {
        "identity": asdict(identity),
        "count": len(collection),
        "source": collection.stamp.source,
        "revision": collection.stamp.revision,
        "library": f"chromadb {installed_chromadb()}",
    }


def _digest(hashes: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()
