"""The searcher: queries of any type in, passages out."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from pixsearch.config import FromDocument, QueryType, RegionCrop, RetrievalOptions
from pixsearch.queries import Passage, Query, check_k, has_words
from pixsearch.retrieval.from_document import nearest_chunks
from pixsearch.retrieval.fusion import fused
from pixsearch.retrieval.hits import Hit
from pixsearch.retrieval.index import Index, TextIndex
from pixsearch.retrieval.info import SourceInfo, local_info
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from pixsearch.retrieval.local_indexes import open_image_index, open_text_index
from pixsearch.retrieval.regions import ImageQuery


@runtime_checkable
class AnyReranker(Protocol):
    """Puts passages in a new order; pixsearch/retrieval/reranker.py has one, and the contracts.

    Attributes:
        fingerprint: sha256 of all that decides the order.
    """

    fingerprint: str

    def scores(self, query: str, passages: Sequence[str]) -> Float[np.ndarray, " num_passages"]: ...

    def rerank(
        self, queries: Sequence[str], found: Sequence[Sequence[Passage]], k: int
    ) -> list[list[Passage]]: ...


class Searcher:
    """Finds passages for text, image and region queries in one knowledge base.

    `Searcher.open(options)` loads what `build_indexes(options)` built. For one thread at a time.

    Attributes:
        reranker: of text queries, None without one.
    """

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        text_index: TextIndex,
        image_index: Index | None,
        options: RetrievalOptions,
        *,
        reranker: AnyReranker | None = None,
    ) -> None:
        """
        Args:
            image_index: None for a knowledge base without images.
            reranker: of text queries.
        """
        self.knowledge_base = knowledge_base
        self._text_index = text_index
        self._image_index = image_index
        self._options = options
        self.reranker = reranker

    @classmethod
    def open(cls, options: RetrievalOptions) -> "Searcher":
        """Load knowledge base, encoders and indexes.

        Raises:
            ValueError: an index is missing, corrupt, or was built from something else.
        """
        knowledge_base = KnowledgeBase(options.knowledge_base)
        return cls(
            knowledge_base,
            open_text_index(options, knowledge_base),
            open_image_index(options, knowledge_base) if knowledge_base.has_images else None,
            options,
            reranker=open_reranker(options) if options.reranker.model else None,
        )

    def search(
        self,
        queries: Sequence[Query],
        k: int = 5,
        *,
        region_crop: RegionCrop = RegionCrop.masked_crop,
    ) -> list[list[Passage]]:
        """The k nearest passages of each query, nearest first; fewer if there are not as many.

        All texts are encoded together, and so are all whole images and regions. A text query
        without words finds nothing. What an image or region finds is a document; which chunk of it
        is returned, `RetrievalOptions.from_document` says.

        Scores are those of the index that was asked (cosine, BM25), of the fusion where two were,
        or of the reranker.

        Raises:
            ValueError: k < 1, an empty mask, an image query where there is no image index, or
                `mask_pooled` with an encoder whose patches are of no use (regions.py).
        """
        check_k(k)
        texts = [query for query in queries if query.type is QueryType.text]
        images = [query for query in queries if query.type is not QueryType.text]
        by_text = iter(self._find_by_text(texts, k))
        by_image = iter(self._find_by_image(images, k, region_crop))
        return [next(by_text if query.type is QueryType.text else by_image) for query in queries]

    def info(self) -> SourceInfo:
        """What is searched."""
        reranker = self.reranker and self.reranker.fingerprint
        return local_info(self._options, self.knowledge_base, reranker=reranker)

    def _find_by_text(self, queries: list[Query], k: int) -> list[list[Passage]]:
        texts = [query.text for query in queries]
        if self.reranker is None:
            return self.knowledge_base.passages(self._search_texts(texts, k))
        hits = self._search_texts(texts, max(k, self._options.reranker.candidates))
        passages = self.knowledge_base.passages(hits)
        return self.reranker.rerank([text or "" for text in texts], passages, k)

    def _find_by_image(
        self, queries: list[Query], k: int, region_crop: RegionCrop
    ) -> list[list[Passage]]:
        images = [ImageQuery.of(query, region_crop) for query in queries]
        questions = [query.question for query in queries]
        if not self._options.fuse_question:
            hits = self._chunks_of(self._search_images(images, k), questions)
            return self.knowledge_base.passages(hits)
        depth = max(k, self._options.fusion.candidates)
        hits = self._chunks_of(self._search_images(images, depth), questions)
        both = zip(hits, self._search_texts(questions, depth), strict=True)
        constant = self._options.fusion.constant
        return self.knowledge_base.passages([fused(each, k, constant=constant) for each in both])

    def _search_texts(self, texts: Sequence[str | None], k: int) -> list[list[Hit]]:
        """Hits of each text; none of one without words."""
        worded = [text for text in texts if has_words(text)]
        hits = iter(self._text_index.search(worded, k) if worded else [])
        return [next(hits) if has_words(text) else [] for text in texts]

    def _search_images(self, images: list[ImageQuery], k: int) -> list[list[Hit]]:
        if not images:
            return []
        if self._image_index is None:
            raise ValueError(
                f"{self.knowledge_base.folder} has no images to compare with: "
                "set policy.allow=[text], or add images to its corpus.jsonl"
            )
        return self._image_index.search(images, k)

    def _chunks_of(
        self, found: list[list[Hit]], questions: Sequence[str | None]
    ) -> list[list[Hit]]:
        """Hits in documents become hits in their chunks; images belong to the lead as it is."""
        if self._options.from_document is FromDocument.lead:
            return found
        return nearest_chunks(self.knowledge_base, self._text_index, found, questions)


def open_reranker(options: RetrievalOptions) -> AnyReranker:
    """The cross-encoder that `options.reranker` names.

    Raises:
        ValueError: it is none.
    """
    from pixsearch.retrieval.reranker import Reranker  # torch, for which a search needs not wait

    return Reranker(options.reranker)
