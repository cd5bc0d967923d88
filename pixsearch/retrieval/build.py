"""Builds the indexes of a knowledge base, or reuses those that fit."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from pixsearch.config import EncoderOptions, RetrievalOptions
from pixsearch.retrieval.bm25 import LexicalIndex, lexical_identity, lexical_manifest
from pixsearch.retrieval.encoders import (
    ImageEncoder,
    TextEncoder,
    open_image_encoder,
    open_text_encoder,
)
from pixsearch.retrieval.index import VectorIndex, replaced_folder
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from pixsearch.retrieval.manifest import (
    Identity,
    Manifest,
    check_identity,
    encoder_identity,
    read_manifest,
    write_manifest,
)

logger = logging.getLogger(__name__)

TEXT, IMAGE, LEXICAL = "text", "image", "bm25"  # folders under RetrievalOptions.index


def build_indexes(
    options: RetrievalOptions, *, progress: bool | None = None
) -> dict[str, Manifest]:
    """Build what `options` ask for: text or BM25 index, and an image index if there are images.

    An index that is there and fits is reused. A new one is written aside and renamed, so that a
    killed build leaves the old one, or none.

    Args:
        progress: show bars; None: only on a terminal. The log says the same in words.

    Returns:
        Folder name -> manifest.

    Raises:
        ValueError: a broken corpus, a missing image, encoder options that do not fit.
    """
    knowledge_base = KnowledgeBase(options.knowledge_base)
    build_texts = _build_lexical if options.lexical else _build_text
    manifests = build_texts(options, knowledge_base, progress)
    if any(document.images for document in knowledge_base):
        manifests |= _build_image(options, knowledge_base, progress)
    else:
        logger.info("%s has no images: no image index", options.knowledge_base)
    return manifests


def text_identity(
    options: RetrievalOptions, encoder: TextEncoder, knowledge_base: KnowledgeBase
) -> Identity:
    """What the text index is, or has to be."""
    return encoder_identity(
        options.text_encoder,
        fingerprint=encoder.fingerprint,
        corpus_sha256=knowledge_base.sha256,
        factory=options.factory,
    )


def image_identity(
    options: RetrievalOptions, encoder: ImageEncoder, knowledge_base: KnowledgeBase
) -> Identity:
    """What the image index is, or has to be."""
    return encoder_identity(
        options.image_encoder,
        fingerprint=encoder.fingerprint,
        corpus_sha256=knowledge_base.images_sha256(),
        factory=options.factory,
    )


def _build_text(
    options: RetrievalOptions, knowledge_base: KnowledgeBase, progress: bool | None
) -> dict[str, Manifest]:
    encoder = open_text_encoder(options.text_encoder)
    identity = text_identity(options, encoder, knowledge_base)

    def write(folder: Path) -> Manifest:
        vectors = _encode_all(
            (document.text for document in knowledge_base),
            encoder.encode_text,
            count=len(knowledge_base),
            options=options.text_encoder,
            progress=progress,
        )
        return _write_vectors(folder, identity, vectors, np.arange(len(knowledge_base)))

    folder = Path(options.index) / TEXT
    return {TEXT: _reuse_or_build(folder, identity, load=VectorIndex.load, write=write)}


def _build_image(
    options: RetrievalOptions, knowledge_base: KnowledgeBase, progress: bool | None
) -> dict[str, Manifest]:
    encoder = open_image_encoder(options.image_encoder)
    identity = image_identity(options, encoder, knowledge_base)

    def write(folder: Path) -> Manifest:
        num_images = [len(document.images) for document in knowledge_base]
        vectors = _encode_all(
            (knowledge_base.image(doc, path) for doc in knowledge_base for path in doc.images),
            encoder.encode_image,
            count=sum(num_images),
            options=options.image_encoder,
            progress=progress,
        )
        rows = np.repeat(np.arange(len(knowledge_base)), num_images)
        return _write_vectors(folder, identity, vectors, rows)

    folder = Path(options.index) / IMAGE
    return {IMAGE: _reuse_or_build(folder, identity, load=VectorIndex.load, write=write)}


def _build_lexical(
    options: RetrievalOptions, knowledge_base: KnowledgeBase, progress: bool | None
) -> dict[str, Manifest]:
    identity = lexical_identity(knowledge_base.sha256)

    def write(folder: Path) -> Manifest:
        LexicalIndex.build([document.text for document in knowledge_base]).save(folder)
        return lexical_manifest(identity, len(knowledge_base))

    folder = Path(options.index) / LEXICAL
    return {LEXICAL: _reuse_or_build(folder, identity, load=LexicalIndex.load, write=write)}


def _write_vectors(
    folder: Path,
    identity: Identity,
    vectors: Float32[np.ndarray, "count dimension"],
    rows: np.ndarray,
) -> Manifest:
    index = VectorIndex.build(vectors, rows, factory=identity.factory)
    index.save(folder)
    return index.manifest(identity, vectors)


def _reuse_or_build(
    folder: Path,
    identity: Identity,
    *,
    load: Callable[[Path], Any],
    write: Callable[[Path], Manifest],
) -> Manifest:
    """The manifest of an index that fits and can be read; else of a new one."""
    try:
        found = read_manifest(folder)
        check_identity(found.identity, identity, folder)
        load(folder)
    except ValueError as reason:
        logger.info("building: %s", reason)
    else:
        logger.info("reusing the index %s (%d vectors)", folder, found.count)
        return found
    with replaced_folder(folder) as partial:
        manifest = write(partial)
        write_manifest(manifest, partial)
    return manifest


def _encode_all(
    items: Iterable[Any],
    encode: Callable[[list[Any]], np.ndarray],
    *,
    count: int,
    options: EncoderOptions,
    progress: bool | None,
) -> Float32[np.ndarray, "count dimension"]:
    """Encode in batches; no more than one batch of items is in memory."""
    vectors = np.empty((count, options.dimension), dtype=np.float32)
    started, done = time.monotonic(), 0
    disable = None if progress is None else not progress
    with tqdm(total=count, desc=f"encode with {options.name}", disable=disable) as bar:
        for batch in _batches(items, options.batch_size):
            vectors[done : done + len(batch)] = encode(batch)
            done += len(batch)
            bar.update(len(batch))
    assert done == count
    seconds = time.monotonic() - started
    logger.info("encoded %d documents or images with %s in %.1f s", count, options.name, seconds)
    return vectors


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
