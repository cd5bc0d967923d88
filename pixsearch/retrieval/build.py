"""Builds the indexes of a knowledge base, or reuses those that fit.

INDEX/text/  image/  bm25/         an index each: its files and manifest.json
INDEX/vectors/text/  image/        the vectors in shards; another factory is built from them
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from tqdm import tqdm

from pixsearch.config import Backend, BuildOptions, EncoderOptions, RetrievalOptions, TextSearch
from pixsearch.retrieval.bm25 import LexicalIndex, lexical_identity, lexical_manifest
from pixsearch.retrieval.building.encoding import Encode, Encoding
from pixsearch.retrieval.building.finishing import alone, write_vector_index
from pixsearch.retrieval.building.processes import Process
from pixsearch.retrieval.building.shards import Shards
from pixsearch.retrieval.building.sources import ImageSource, Source, TextSource, count_images
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
    check_files,
    check_identity,
    encoder_identity,
    file_records,
    read_manifest,
    write_manifest,
)

logger = logging.getLogger(__name__)

TEXT, IMAGE, LEXICAL = "text", "image", "bm25"  # folders under RetrievalOptions.index
TEXT_INDEXES: dict[TextSearch, tuple[str, ...]] = {
    TextSearch.dense: (TEXT,),
    TextSearch.bm25: (LEXICAL,),
    TextSearch.hybrid: (TEXT, LEXICAL),
}
SHARDS = "vectors"  # likewise; shards of TEXT and IMAGE are in folders of these names
NOT_OF_A_VECTOR = ("corpus_sha256", "factory", "document_prefix")
"""Fields of an identity that a shard does not hang on; a document's prefix is part of its items."""


def build_indexes(
    options: RetrievalOptions,
    build: BuildOptions | None = None,
    *,
    progress: bool | None = None,
) -> dict[str, Manifest]:
    """Build what `options` ask for: text or BM25 index, and an image index if there are images.

    An index that is there and fits is reused. The processes of `accelerate launch` encode shards
    side by side; the first of them waits for all, then fills the indexes. A build that was killed
    goes on from its finished shards and ends in the same bytes. A new index is written aside and
    renamed, so that until then the old one, or none, is there.

    Args:
        progress: show bars; None: only on a terminal. The log says the same in words.

    Returns:
        Folder name -> manifest, in the first process; nothing in the others.

    Raises:
        ValueError: a broken corpus, a missing image, encoder options that do not fit.
        TimeoutError: another process did not finish its shards.
    """
    return _Build(options, build or BuildOptions(), progress).run()


def text_identity(
    options: RetrievalOptions, encoder: TextEncoder, knowledge_base: KnowledgeBase
) -> Identity:
    """What the text index is, or has to be."""
    return encoder_identity(
        options.text_encoder,
        fingerprint=encoder.fingerprint,
        corpus_sha256=knowledge_base.sha256,
        factory=_engine(options),
    )


def image_identity(
    options: RetrievalOptions, encoder: ImageEncoder, knowledge_base: KnowledgeBase
) -> Identity:
    """What the image index is, or has to be."""
    return encoder_identity(
        options.image_encoder,
        fingerprint=encoder.fingerprint,
        corpus_sha256=knowledge_base.images_sha256(),
        factory=_engine(options),
    )


def _engine(options: RetrievalOptions) -> str:
    return "qdrant" if options.backend is Backend.qdrant else options.factory


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A vector index that is to be filled, or, with a manifest, is there already."""

    name: str
    identity: Identity
    encoder: EncoderOptions
    rows: Int64[np.ndarray, " count"]
    shards: Shards
    found: Manifest | None


class _Build:
    """One call of `build_indexes` in one process."""

    def __init__(
        self, options: RetrievalOptions, build: BuildOptions, progress: bool | None
    ) -> None:
        self._options = options
        self._build = build
        self._text_indexes = TEXT_INDEXES[options.text_search]
        self._process = Process.from_environment()
        self._progress = progress
        self._disable_bar = None if progress is None else not progress
        self._knowledge_base = KnowledgeBase(options.knowledge_base)

    def run(self) -> dict[str, Manifest]:
        self._process.take_accelerator()
        jobs = self._encode_all()
        if not self._process.is_main:
            return {}
        with alone(Path(self._options.index) / SHARDS):
            manifests = {LEXICAL: self._lexical()} if LEXICAL in self._text_indexes else {}
            dimensions = {job.name: job.identity.dimension for job in jobs}
            return manifests | {
                job.name: job.found or self._finish(job, dimensions) for job in jobs
            }

    def _encode_all(self) -> list[_Job]:
        """Shards first, of texts and of images: no process waits while it could encode.

        Both encoders are opened before either encodes: what does not fit is told at once.
        """
        limit = self._build.max_document_characters
        num_images = count_images(self._knowledge_base, max_characters=limit)
        work = [self._texts()] if TEXT in self._text_indexes else []
        if num_images.any():
            work.append(self._images(num_images))
        else:
            logger.info("%s has no images: no image index", self._options.knowledge_base)
        for job, encode in work:
            self._encode(job, encode)
        return [job for job, _ in work]

    def _texts(self) -> tuple[_Job, Encode]:
        options = self._options.text_encoder
        encoder = open_text_encoder(options)
        identity = text_identity(self._options, encoder, self._knowledge_base)
        source = TextSource(self._knowledge_base, options.document_prefix)
        job = self._job(TEXT, identity, options, source)
        return job, encoder.encode_text

    def _images(self, num_images: Int64[np.ndarray, " num_documents"]) -> tuple[_Job, Encode]:
        options = self._options.image_encoder
        encoder = open_image_encoder(options)
        identity = image_identity(self._options, encoder, self._knowledge_base)
        job = self._job(IMAGE, identity, options, ImageSource(self._knowledge_base, num_images))
        return job, encoder.encode_image

    def _job(self, name: str, identity: Identity, options: EncoderOptions, source: Source) -> _Job:
        # Texts are read a window at a time, to be sorted; images, which are large, a batch.
        window = self._build.window if name == TEXT else options.batch_size
        encoding = Encoding(
            source=source,
            dimension=options.dimension,
            batch_size=options.batch_size,
            window=window,
        )
        ours = asdict(identity)
        encoder = {key: ours[key] for key in ours if key not in NOT_OF_A_VECTOR}
        folder = Path(self._options.index) / SHARDS / name
        return _Job(
            name=name,
            identity=identity,
            encoder=options,
            rows=source.rows,
            shards=Shards(folder, encoding, encoder=encoder, size=self._build.shard_size),
            found=self._found(name, identity),
        )

    def _found(self, name: str, identity: Identity) -> Manifest | None:
        """The manifest of an index that fits and was measured as it is to be searched."""
        if self._options.backend is Backend.qdrant:
            return _fitting(self._folder(name), identity, lambda _: self._in_qdrant(name, identity))
        found = _fitting(self._folder(name), identity, partial(VectorIndex.load, memory_map=True))
        wanted = self._options.search_parameters
        return found if found and wanted in ("", found.search_parameters) else None

    def _encode(self, job: _Job, encode: Encode) -> None:
        """This process's share of the shards that are not done."""
        if job.found is not None:
            return
        numbers = self._process.share(len(job.shards))
        todo = [number for number in numbers if not job.shards.is_done(number)]
        count = sum(job.shards.num_items(number) for number in todo)
        started = time.monotonic()
        with tqdm(total=count, desc=f"encode {job.name}", disable=self._disable_bar) as bar:
            for number in todo:
                job.shards.write(number, encode, self._process, bar.update)
                logger.info(
                    "%s: %s shard %d of %d", self._process, job.name, number, len(job.shards)
                )
        seconds = time.monotonic() - started
        logger.info(
            "%s encoded %d of %d %ss with %s in %.1f s",
            *(self._process, count, len(job.rows), job.name, job.encoder.name, seconds),
        )

    def _finish(self, job: _Job, dimensions: dict[str, int]) -> Manifest:
        """Make an index of its shards.

        Args:
            dimensions: of all vector indexes by their names.
        """
        job.shards.wait(self._build.wait_seconds)
        job.shards.remove_others()
        with replaced_folder(self._folder(job.name)) as aside:
            if self._options.backend is Backend.qdrant:
                return self._upload(job, dimensions, aside)
            return write_vector_index(
                aside,
                job.shards.vectors(),
                job.rows,
                job.identity,
                model=_weights(job.encoder),
                search_parameters=self._options.search_parameters,
                options=self._build,
                progress=self._progress,
            )

    def _upload(self, job: _Job, dimensions: dict[str, int], folder: Path) -> Manifest:
        from pixsearch.retrieval.building.uploading import upload_vector_index  # needs an extra
        from pixsearch.retrieval.qdrant import open_collection

        collection = open_collection(self._options.qdrant)
        collection.prepare(
            corpus_sha256=self._knowledge_base.sha256,
            num_documents=len(self._knowledge_base),
            dimensions=dimensions,
        )
        return upload_vector_index(
            folder,
            collection,
            job.name,
            job.shards.vectors(),
            job.rows,
            job.identity,
            model=job.encoder.model,
            batch_size=self._options.qdrant.batch_size,
            progress=self._progress,
        )

    def _in_qdrant(self, name: str, identity: Identity) -> None:
        """See that a collection has the vectors that a manifest says it has."""
        from pixsearch.retrieval.qdrant import open_collection  # needs an extra

        open_collection(self._options.qdrant).index(name, identity)

    def _lexical(self) -> Manifest:
        identity = lexical_identity(self._knowledge_base.sha256)
        folder = self._folder(LEXICAL)
        if found := _fitting(folder, identity, partial(LexicalIndex.load, memory_map=True)):
            return found
        with replaced_folder(folder) as aside:
            LexicalIndex.build(document.text for document in self._knowledge_base).save(aside)
            manifest = lexical_manifest(identity, len(self._knowledge_base))
            manifest = replace(manifest, files=file_records(aside))
            write_manifest(manifest, aside)
        return manifest

    def _folder(self, name: str) -> Path:
        return Path(self._options.index) / name


def _weights(options: EncoderOptions) -> str:
    return f"{options.model}@{options.revision}" if options.revision else options.model


def _fitting(folder: Path, identity: Identity, load: Callable[[Path], Any]) -> Manifest | None:
    """The manifest of an index that fits and is whole; else None, and the log says why."""
    try:
        found = read_manifest(folder)
        check_identity(found.identity, identity, folder)
        check_files(found, folder)
        load(folder)
    except ValueError as reason:
        logger.info("building: %s", reason)
        return None
    logger.info("reusing the index %s (%d vectors)", folder, found.count)
    return found
