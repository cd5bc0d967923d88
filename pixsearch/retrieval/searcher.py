"""The searcher: queries of any type in, passages out."""

from collections.abc import Sequence
from pathlib import Path

from pixsearch.config import QueryType, RegionCrop, RetrievalOptions
from pixsearch.queries import Passage, Query
from pixsearch.retrieval.bm25 import LexicalIndex, lexical_identity
from pixsearch.retrieval.build import IMAGE, LEXICAL, TEXT, image_identity, text_identity
from pixsearch.retrieval.encoders import open_image_encoder, open_text_encoder
from pixsearch.retrieval.index import EncodedIndex, Hit, Index, VectorIndex
from pixsearch.retrieval.info import SourceInfo, local_info
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from pixsearch.retrieval.manifest import Identity, check_identity, read_manifest
from pixsearch.retrieval.regions import ImageQuery, ImageQueryEncoder


class Searcher:
    """Finds passages for text, image and region queries in one knowledge base.

    `Searcher.open(options)` loads what `build_indexes(options)` built. For one thread at a time.
    """

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        text_index: Index,
        image_index: Index | None,
        options: RetrievalOptions,
    ) -> None:
        """
        Args:
            image_index: None for a knowledge base without images.
        """
        self.knowledge_base = knowledge_base
        self._text_index = text_index
        self._image_index = image_index
        self._options = options

    @classmethod
    def open(cls, options: RetrievalOptions) -> "Searcher":
        """Load knowledge base, encoders and indexes.

        Raises:
            ValueError: an index is missing, corrupt, or was built from something else.
        """
        knowledge_base = KnowledgeBase(options.knowledge_base)
        open_texts = _open_lexical_index if options.lexical else _open_text_index
        has_images = any(document.images for document in knowledge_base)
        image_index = _open_image_index(options, knowledge_base) if has_images else None
        return cls(knowledge_base, open_texts(options, knowledge_base), image_index, options)

    def search(
        self,
        queries: Sequence[Query],
        k: int = 5,
        *,
        region_crop: RegionCrop = RegionCrop.masked_crop,
    ) -> list[list[Passage]]:
        """The k nearest passages of each query, nearest first; fewer if there are not as many.

        All texts are encoded together, and so are all whole images and regions. A text query
        without words finds nothing.

        Raises:
            ValueError: k < 1, an empty mask, an image query where there is no image index, or
                `mask_pooled` with an encoder whose patches are of no use (regions.py).
        """
        if k < 1:
            raise ValueError(f"k={k}: ask for at least one passage")
        texts = {place: query.text for place, query in enumerate(queries) if _has_words(query)}
        images = {
            place: _image_query(query, region_crop)
            for place, query in enumerate(queries)
            if query.type is not QueryType.text
        }
        hits = dict(zip(texts, self._text_index.search(list(texts.values()), k), strict=True))
        hits |= zip(images, self._search_images(list(images.values()), k), strict=True)
        return [self._passages(hits.get(place, [])) for place in range(len(queries))]

    def info(self) -> SourceInfo:
        """What is searched."""
        return local_info(self._options, self.knowledge_base)

    def _search_images(self, images: list[ImageQuery], k: int) -> list[list[Hit]]:
        if not images:
            return []
        if self._image_index is None:
            raise ValueError(
                f"{self.knowledge_base.folder} has no images to compare with: "
                "set policy.allow=[text], or add images to its corpus.jsonl"
            )
        return self._image_index.search(images, k)

    def _passages(self, hits: list[Hit]) -> list[Passage]:
        return [self.knowledge_base.passage(hit.row, hit.score) for hit in hits]


def _has_words(query: Query) -> bool:
    return query.type is QueryType.text and bool(query.text and query.text.strip())


def _image_query(query: Query, region_crop: RegionCrop) -> ImageQuery:
    assert query.image is not None
    mask = query.mask if query.type is QueryType.region else None
    return ImageQuery(image=query.image, mask=mask, crop=region_crop)


def _open_text_index(options: RetrievalOptions, knowledge_base: KnowledgeBase) -> EncodedIndex:
    encoder = open_text_encoder(options.text_encoder)
    identity = text_identity(options, encoder, knowledge_base)
    prefix = options.text_encoder.prefix
    return EncodedIndex(
        encode=lambda texts: encoder.encode_text([prefix + text for text in texts]),
        vectors=VectorIndex.load(_checked(Path(options.index) / TEXT, identity)),
    )


def _open_image_index(options: RetrievalOptions, knowledge_base: KnowledgeBase) -> EncodedIndex:
    encoder = open_image_encoder(options.image_encoder)
    identity = image_identity(options, encoder, knowledge_base)
    vectors = VectorIndex.load(_checked(Path(options.index) / IMAGE, identity))
    return EncodedIndex(encode=ImageQueryEncoder(encoder, options).encode, vectors=vectors)


def _open_lexical_index(options: RetrievalOptions, knowledge_base: KnowledgeBase) -> LexicalIndex:
    identity = lexical_identity(knowledge_base.sha256)
    return LexicalIndex.load(_checked(Path(options.index) / LEXICAL, identity))


def _checked(folder: Path, identity: Identity) -> Path:
    """The folder of an index that fits."""
    check_identity(read_manifest(folder).identity, identity, folder)
    return folder
