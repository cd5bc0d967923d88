"""The searcher of CRAG-MM's indexes: queries of any type in, passages out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pixsearch.config import QueryType, RegionCrop, RetrievalOptions
from pixsearch.queries import Passage, Query
from pixsearch.retrieval.crag_mm import entities, pages
from pixsearch.retrieval.crag_mm.collection import Collection, open_collection
from pixsearch.retrieval.crag_mm.entities import ImageSearch, entity_passages
from pixsearch.retrieval.crag_mm.pages import WebSearch, page_passages
from pixsearch.retrieval.crops import region_image
from pixsearch.retrieval.encoders import (
    ImageEncoder,
    TextEncoder,
    open_image_encoder,
    open_text_encoder,
)


@dataclass(frozen=True, kw_only=True)
class EncodedImageSearch:
    """The image search with the encoder of its queries."""

    encoder: ImageEncoder
    images: ImageSearch

    def search(
        self, queries: list[Image.Image], k: int, *, num_images: int, min_score: float
    ) -> list[list[Passage]]:
        """At most k entities for each image, all images in one call of encoder and index."""
        hits = self.images.nearest(self.encoder.encode_image(queries), max(k, num_images))
        return [entity_passages(found, k, min_score=min_score) for found in hits]


@dataclass(frozen=True, kw_only=True)
class EncodedWebSearch:
    """The web search with the encoder of its queries.

    Attributes:
        prefix: put before every query.
    """

    encoder: TextEncoder
    web: WebSearch
    prefix: str

    def search(self, queries: list[str], k: int, *, num_chunks: int) -> list[list[Passage]]:
        """At most k pages for each text, all texts in one call of encoder and index."""
        vectors = self.encoder.encode_text([self.prefix + text for text in queries])
        hits = self.web.nearest(vectors, max(k, num_chunks))
        return [page_passages(found, k) for found in hits]


class CragMMSearcher:
    """Finds what the package cragmm-search-pipeline finds, for many queries in one call.

    An image or region finds the entities that similar images show, a text finds web pages. A
    query's type is never guessed from its words, as the package does with addresses and names of
    files. `CragMMSearcher.open(options)` opens private copies of the indexes. For one thread of one
    process.
    """

    def __init__(
        self,
        images: EncodedImageSearch | None,
        web: EncodedWebSearch | None,
        options: RetrievalOptions,
    ) -> None:
        """
        Args:
            images, web: None: queries of that type are refused.
        """
        self._images = images
        self._web = web
        self._options = options

    @classmethod
    def open(cls, options: RetrievalOptions) -> "CragMMSearcher":
        """Copy the indexes if need be, open them, and load the encoders of their queries.

        Raises:
            ValueError: an index that is missing, unreadable, or of another dimension than its
                encoder.
        """
        source = options.crag_mm
        images = None if source.image_index is None else _open_images(options, source.image_index)
        web = None if source.web_index is None else _open_web(options, source.web_index)
        return cls(images, web, options)

    def search(
        self,
        queries: Sequence[Query],
        k: int = 5,
        *,
        region_crop: RegionCrop = RegionCrop.masked_crop,
    ) -> list[list[Passage]]:
        """At most k entities or pages for each query, nearest first.

        A text query without words finds nothing.

        Raises:
            ValueError: k < 1, an empty mask, or a query for an index that was not given.
        """
        if k < 1:
            raise ValueError(f"k={k}: ask for at least one passage")
        texts = {place: query.text for place, query in enumerate(queries) if _has_words(query)}
        images = {
            place: self._query_image(query, region_crop)
            for place, query in enumerate(queries)
            if query.type is not QueryType.text
        }
        found = dict(zip(texts, self._find_pages(list(texts.values()), k), strict=True))
        found |= zip(images, self._find_entities(list(images.values()), k), strict=True)
        return [found.get(place, []) for place in range(len(queries))]

    def _query_image(self, query: Query, region_crop: RegionCrop) -> Image.Image:
        assert query.image is not None
        if query.type is QueryType.image:
            return query.image
        assert query.mask is not None
        return region_image(
            query.image,
            query.mask,
            crop=region_crop,
            min_side=self._options.min_region_side,
            margin=self._options.region_margin,
        )

    def _find_entities(self, images: list[Image.Image], k: int) -> list[list[Passage]]:
        if not images:
            return []
        if self._images is None:
            raise ValueError(
                "crag_mm.image_index=null: set policy.allow=[text], or give an image index"
            )
        source = self._options.crag_mm
        return self._images.search(
            images, k, num_images=source.num_images, min_score=source.min_image_score
        )

    def _find_pages(self, texts: list[str], k: int) -> list[list[Passage]]:
        if not texts:
            return []
        if self._web is None:
            raise ValueError(
                "crag_mm.web_index=null: set policy.allow=[image,region], or give a web index"
            )
        return self._web.search(texts, k, num_chunks=self._options.crag_mm.num_chunks)


def _has_words(query: Query) -> bool:
    return query.type is QueryType.text and bool(query.text and query.text.strip())


def _open_images(options: RetrievalOptions, index: str) -> EncodedImageSearch:
    encoder = open_image_encoder(options.image_encoder)
    collection = open_collection(
        entities.COLLECTION,
        source=index,
        revision=options.crag_mm.image_revision,
        copies=Path(options.crag_mm.copies),
    )
    _refuse_misfit(encoder, collection, "image_encoder")
    return EncodedImageSearch(encoder=encoder, images=ImageSearch(collection))


def _open_web(options: RetrievalOptions, index: str) -> EncodedWebSearch:
    encoder = open_text_encoder(options.text_encoder)
    collection = open_collection(
        pages.COLLECTION,
        source=index,
        revision=options.crag_mm.web_revision,
        copies=Path(options.crag_mm.copies),
    )
    _refuse_misfit(encoder, collection, "text_encoder")
    return EncodedWebSearch(
        encoder=encoder, web=WebSearch(collection), prefix=options.text_encoder.prefix
    )


def _refuse_misfit(encoder: TextEncoder | ImageEncoder, collection: Collection, role: str) -> None:
    if encoder.dimension != collection.dimension:
        raise ValueError(
            f"the {collection.label} has vectors of {collection.dimension} dimensions, "
            f"retrieval.{role} gives {encoder.dimension}: configs/retrieval/crag_mm.yaml names the "
            "encoders of the published indexes"
        )
