"""The indexes of a run, opened and seen to fit what is about to be asked of them."""

from pathlib import Path

from pixsearch.config import Backend, RetrievalOptions, TextSearch
from pixsearch.retrieval.bm25 import LexicalIndex, lexical_identity
from pixsearch.retrieval.build import (
    IMAGE,
    LEXICAL,
    TEXT,
    image_identity,
    text_identity,
)
from pixsearch.retrieval.encoders import open_image_encoder, open_text_encoder
from pixsearch.retrieval.fusion import HybridIndex
from pixsearch.retrieval.index import EncodedIndex, TextIndex, VectorIndex, VectorSearch
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from pixsearch.retrieval.manifest import (
    Identity,
    check_files,
    check_identity,
    read_manifest,
)
from pixsearch.retrieval.regions import ImageQueryEncoder


def open_text_index(options: RetrievalOptions, knowledge_base: KnowledgeBase) -> TextIndex:
    """What text queries are searched with, as `text_search` says.

    Raises:
        ValueError: an index is missing, corrupt, or was built from something else.
        SearchFailed: a Qdrant cluster does not answer.
    """
    if options.text_search is TextSearch.dense:
        return _open_dense(options, knowledge_base)
    if options.text_search is TextSearch.bm25:
        return _open_words(options, knowledge_base)
    return HybridIndex(
        dense=_open_dense(options, knowledge_base),
        words=_open_words(options, knowledge_base),
        options=options.fusion,
    )


def open_image_index(options: RetrievalOptions, knowledge_base: KnowledgeBase) -> EncodedIndex:
    """What images and regions are searched with; raises as `open_text_index`."""
    encoder = open_image_encoder(options.image_encoder)
    identity = image_identity(options, encoder, knowledge_base)
    vectors = _open_vectors(options, IMAGE, identity)
    return EncodedIndex(encode=ImageQueryEncoder(encoder, options).encode, vectors=vectors)


def _open_dense(options: RetrievalOptions, knowledge_base: KnowledgeBase) -> EncodedIndex:
    encoder = open_text_encoder(options.text_encoder)
    identity = text_identity(options, encoder, knowledge_base)
    prefix = options.text_encoder.prefix
    return EncodedIndex(
        encode=lambda texts: encoder.encode_text([prefix + text for text in texts]),
        vectors=_open_vectors(options, TEXT, identity),
    )


def _open_words(options: RetrievalOptions, knowledge_base: KnowledgeBase) -> LexicalIndex:
    folder = Path(options.index) / LEXICAL
    _checked(folder, lexical_identity(knowledge_base.sha256), options)
    return LexicalIndex.load(folder, memory_map=options.memory_map)


def _open_vectors(options: RetrievalOptions, name: str, identity: Identity) -> VectorSearch:
    folder = Path(options.index) / name
    _checked(folder, identity, options)
    if options.backend is Backend.qdrant:
        from pixsearch.retrieval.qdrant import open_collection  # needs an extra

        return open_collection(options.qdrant).index(name, identity)
    return VectorIndex.load(
        folder,
        memory_map=options.memory_map,
        device=options.device,
        search_parameters=options.search_parameters,
    )


def _checked(folder: Path, identity: Identity, options: RetrievalOptions) -> None:
    """See that an index fits and that its files are those that were built."""
    manifest = read_manifest(folder)
    check_identity(manifest.identity, identity, folder)
    check_files(manifest, folder, verify=options.verify)
