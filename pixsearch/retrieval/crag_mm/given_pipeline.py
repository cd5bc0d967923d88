"""CRAG-MM's search pipeline as it is handed to an agent, in place of indexes that we open."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from pixsearch.config import QueryType, RegionCrop, RetrievalOptions
from pixsearch.queries import Passage, Query, SearchFailed, check_k, has_words
from pixsearch.retrieval.crag_mm.entities import Entity, ImageHit, entity_passages
from pixsearch.retrieval.crag_mm.pages import PageHit, page_passages
from pixsearch.retrieval.encoders import open_image_encoder
from pixsearch.retrieval.regions import ImageQuery, ImageQueryEncoder

Hit = dict[str, Any]
Pipeline = Callable[[str | Float32[np.ndarray, " dimension"], int], list[Hit]]
"""`UnifiedSearchPipeline` of cragmm-search-pipeline: a text or CLIP's vector, k → hits."""


class PipelineSearcher:
    """Asks a pipeline by our queries, one at a time, since it takes no batches.

    Images and regions go to it as vectors of our own CLIP: its own route for images fails with
    transformers 5. A text never stands at its own beginning, so that none is taken for an address
    or a file.

    Args:
        options: `image_encoder`, `crag_mm.num_images`, `num_chunks` and `min_image_score`, and how
            regions become images.
    """

    def __init__(self, pipeline: Pipeline, options: RetrievalOptions) -> None:
        self._pipeline = pipeline
        self._source = options.crag_mm
        self._encoder = ImageQueryEncoder(open_image_encoder(options.image_encoder), options)

    def search(
        self,
        queries: Sequence[Query],
        k: int = 5,
        *,
        region_crop: RegionCrop = RegionCrop.masked_crop,
    ) -> list[list[Passage]]:
        """At most k entities or pages for each query, nearest first.

        Raises:
            ValueError: k < 1, an empty mask or `mask_pooled`.
            SearchFailed: the pipeline raised something, or its hits are none.
        """
        check_k(k)
        images = [
            ImageQuery.of(one, region_crop) for one in queries if one.type is not QueryType.text
        ]
        vectors = iter(self._encoder.encode(images) if images else ())
        return [
            self._pages(one.text, k)
            if one.type is QueryType.text
            else self._entities(next(vectors), k)
            for one in queries
        ]

    def _pages(self, text: str | None, k: int) -> list[Passage]:
        if not has_words(text):
            return []
        hits = self._ask(f" {text}", max(k, self._source.num_chunks))
        return page_passages(_read(_page, hits), k)

    def _entities(self, vector: Float32[np.ndarray, " dimension"], k: int) -> list[Passage]:
        hits = self._ask(vector, max(k, self._source.num_images))
        found = _read(_image, hits)
        return entity_passages(found, k, min_score=self._source.min_image_score)

    def _ask(self, query: str | Float32[np.ndarray, " dimension"], count: int) -> list[Hit]:
        try:
            return self._pipeline(query, count)
        except Exception as error:  # of any package below it
            raise SearchFailed(f"the given search pipeline: {error}", is_temporary=False) from error


def _read(make: Callable[[Hit], Any], hits: list[Hit]) -> list[Any]:
    try:
        return [make(hit) for hit in hits]
    except (KeyError, TypeError, AttributeError) as error:
        raise SearchFailed(
            f"the given search pipeline returned no hits of CRAG-MM ({error!r})", is_temporary=False
        ) from error


def _page(hit: Hit) -> PageHit:
    return PageHit(
        id=hit["index"],
        score=float(hit["score"]),
        name=hit["page_name"] or "",
        snippet=hit["page_snippet"] or "",
        url=hit["page_url"] or "",
    )


def _image(hit: Hit) -> ImageHit:
    entities = tuple(
        Entity(name=one["entity_name"], infobox=one["entity_attributes"]) for one in hit["entities"]
    )
    return ImageHit(
        id=str(hit["index"]), score=float(hit["score"]), url=hit["url"], entities=entities
    )
