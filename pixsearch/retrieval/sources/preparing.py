"""From a public source to a knowledge base: images, then corpus.jsonl in chunks."""

import json
import logging
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pixsearch.config import ChunkOptions, PrepareKnowledgeOptions, to_dict
from pixsearch.retrieval.sources import READERS
from pixsearch.retrieval.sources.article import Article
from pixsearch.retrieval.sources.chunking import chunk_text
from pixsearch.retrieval.sources.downloading import collect_images
from pixsearch.retrieval.sources.image_manifest import ImageManifest, image_path

logger = logging.getLogger(__name__)

CORPUS, QUARANTINE, PREPARED = "corpus.jsonl", "quarantine.jsonl", "prepared.json"


@dataclass(kw_only=True)
class Counts:
    """What a source has, and what became of it.

    Attributes:
        documents: articles with a text.
        without_text: articles that are left out, as there is nothing to return of them.
        bytes: of corpus.jsonl.
        with_address: documents whose article names an image.
        with_image: documents whose image is stored.
        quarantined: reason -> documents without the image that their article names.
    """

    documents: int = 0
    without_text: int = 0
    chunks: int = 0
    bytes: int = 0
    with_address: int = 0
    with_image: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)


def prepare_knowledge(options: PrepareKnowledgeOptions) -> Counts:
    """Make the knowledge base `options.output_dir` of a source; killed at any point it goes on.

    Beside corpus.jsonl and images/ it has images.jsonl (every image's address, hash and status),
    quarantine.jsonl (the documents that lack theirs, and why) and prepared.json (counts, options).
    The corpus is written anew each time, aside, and depends on source, options and images alone.

    Raises:
        ValueError: an unknown reader, a broken source, an id that two articles have, or what
            `collect_images` raises.
    """
    folder = Path(options.output_dir)
    if options.dry_run:
        counts = _count(options, folder)
    else:
        _collect(options, folder)
        counts = _write(options, folder)
    _log(counts, options)
    return counts


def _articles(options: PrepareKnowledgeOptions) -> Iterator[Article]:
    if options.source not in READERS:
        raise ValueError(f"source={options.source} is unknown: choose from {', '.join(READERS)}")
    articles = READERS[options.source](Path(options.file))
    return map(_encodable, islice(articles, options.limit))


def _encodable(article: Article) -> Article:
    """Half of a surrogate pair, which JSON can hold and UTF-8 cannot, becomes a question mark."""
    url = article.image_url
    try:
        for each in (article.id, article.title, article.text, url or ""):
            each.encode()
    except UnicodeEncodeError:
        return Article(
            id=_replaced(article.id),
            title=_replaced(article.title),
            text=_replaced(article.text),
            image_url=None if url is None else _replaced(url),
        )
    return article


def _replaced(text: str) -> str:
    return text.encode(errors="replace").decode()


def _collect(options: PrepareKnowledgeOptions, folder: Path) -> None:
    """Images first: which of them are there decides what the corpus says."""
    if not (options.images.download or options.images.folder):
        logger.info("no image is fetched: images.download=false and no images.folder")
        return
    with_text = (article for article in _articles(options) if article.text)
    collect_images(with_text, options.images, folder)


def _count(options: PrepareKnowledgeOptions, folder: Path) -> Counts:
    counts = Counts()
    with Path(os.devnull).open("wb") as corpus, Path(os.devnull).open("wb") as quarantine:
        _write_articles(options, ImageManifest.read(folder), counts, corpus, quarantine)
    return counts


def _write(options: PrepareKnowledgeOptions, folder: Path) -> Counts:
    """All files are written aside and renamed, the corpus last but the counts."""
    counts = Counts()
    folder.mkdir(parents=True, exist_ok=True)
    corpus, quarantine = (folder / f"{name}.partial" for name in (CORPUS, QUARANTINE))
    with corpus.open("wb") as corpus_file, quarantine.open("wb") as quarantine_file:
        _write_articles(options, ImageManifest.read(folder), counts, corpus_file, quarantine_file)
    if counts.documents == 0:
        raise ValueError(f"{options.file} has no article with a text")
    quarantine.replace(folder / QUARANTINE)
    corpus.replace(folder / CORPUS)
    prepared = {"counts": asdict(counts), "options": to_dict(options)}
    (folder / PREPARED).write_text(json.dumps(prepared, indent=2) + "\n", encoding="utf-8")
    return counts


def _write_articles(
    options: PrepareKnowledgeOptions,
    manifest: ImageManifest,
    counts: Counts,
    corpus: BinaryIO,
    quarantine: BinaryIO,
) -> None:
    """Lines of all articles, counted on the way.

    Raises:
        ValueError: two articles have the same id.
    """
    keys = array("q")
    for article in _articles(options):
        if not article.text:
            counts.without_text += 1
            continue
        keys.append(hash(article.id))
        counts.documents += 1
        images = _images(article, manifest, counts, quarantine)
        for line in corpus_lines(article, options.chunks, images=images):
            counts.chunks += 1
            counts.bytes += corpus.write(line)
    _refuse_duplicates(keys, options)


def corpus_lines(
    article: Article, options: ChunkOptions, *, images: Iterable[str] = ()
) -> Iterator[bytes]:
    """An article's lines of corpus.jsonl, one for each chunk; see `Document`."""
    chunks = chunk_text(article.text, words=options.words, overlap=options.overlap)
    for number, contents in enumerate(chunks):
        line = {
            "id": f"{article.id}#{number}",
            "document": article.id,
            "chunk": number,
            "title": article.title,
            "contents": contents,
        }
        if number == 0 and images:
            line["images"] = list(images)
        yield json.dumps(line, ensure_ascii=False).encode() + b"\n"


def _images(
    article: Article, manifest: ImageManifest, counts: Counts, quarantine: BinaryIO
) -> list[str]:
    """The paths of an article's images that are stored; the others go into quarantine."""
    url = article.image_url
    if url is None:
        return []
    counts.with_address += 1
    if manifest.is_stored(url):
        counts.with_image += 1
        return [image_path(url)]
    reason = manifest.reason(url)
    counts.quarantined[reason] = counts.quarantined.get(reason, 0) + 1
    line = {"document": article.id, "url": url, "reason": reason}
    quarantine.write(json.dumps(line).encode() + b"\n")
    return []


def _refuse_duplicates(keys: array, options: PrepareKnowledgeOptions) -> None:
    """`keys` are hashes of all ids: only if two are equal are the ids themselves compared."""
    values, occurrences = np.unique(np.asarray(keys), return_counts=True)
    suspects = set(values[occurrences > 1].tolist())
    if not suspects:
        return
    ids = Counter(each.id for each in _articles(options) if each.text and hash(each.id) in suspects)
    twice = [id for id, count in ids.items() if count > 1]
    if twice:
        raise ValueError(
            f"{options.file}: {len(twice)} ids occur more than once, {twice[0]!r} among "
            "them: make them unique"
        )


def _log(counts: Counts, options: PrepareKnowledgeOptions) -> None:
    logger.info(
        "%s: %d documents in %d chunks, %.1f MB of text; %d articles without text left out",
        "dry run" if options.dry_run else options.output_dir,
        counts.documents,
        counts.chunks,
        counts.bytes / 1e6,
        counts.without_text,
    )
    logger.info("images: %d documents name one, %d have it", counts.with_address, counts.with_image)
    for reason, count in Counter(counts.quarantined).most_common():
        logger.info("  %d without: %s", count, reason)
