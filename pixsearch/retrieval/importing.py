"""A corpus of another project -> the folder of a knowledge base.

KNOWLEDGE_BASE/import.json       what is imported, so that nothing else is mixed in
KNOWLEDGE_BASE/corpus.jsonl      renamed from corpus.jsonl.partial when all is there
KNOWLEDGE_BASE/images/4f/4f….jpg named by their sha256
KNOWLEDGE_BASE/left_out.jsonl    what could not be taken, and why
"""

import hashlib
import io
import json
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from PIL import Image
from tqdm import tqdm

from pixsearch.config import ImportCorpusOptions
from pixsearch.retrieval.corpora import READERS, CorpusDocument
from pixsearch.retrieval.image_decoding import UnusableImageError, opened_image

logger = logging.getLogger(__name__)

CORPUS, NOTE = "corpus.jsonl", "import.json"
STAND_EVERY = 100_000  # documents between lines in the log


def import_corpus(options: ImportCorpusOptions, *, progress: bool | None = None) -> int:
    """Write a knowledge base; one document and its images are in memory at a time.

    An import that was killed goes on behind its last whole line and ends in the same bytes.
    Documents without a word, and images that are none, are left out, counted and listed.

    Returns:
        The number of documents.

    Raises:
        ValueError: an unknown reader, a broken source, or a folder that holds something else.
    """
    if options.reader not in READERS:
        raise ValueError(f"reader={options.reader!r} is unknown: choose from {', '.join(READERS)}")
    folder, source = Path(options.knowledge_base), Path(options.source)
    corpus = folder / CORPUS
    _claim(folder, options)
    if corpus.is_file():
        with corpus.open("rb") as lines:
            count = sum(1 for _ in lines)
        logger.info("%s is there already: %d documents", corpus, count)
        return count
    partial = folder / f"{CORPUS}.partial"
    with _Writer(folder, partial) as writer:
        disable = None if progress is None else not progress
        for document in tqdm(READERS[options.reader](source), desc="import", disable=disable):
            writer.add(document)
            if writer.count % STAND_EVERY == 0:
                logger.info("%d documents", writer.count)
    if writer.count == 0:
        raise ValueError(f"{source} has no document that could be taken: see {writer.left_out}")
    partial.rename(corpus)
    logger.info("%s: %d documents, left out: %s", corpus, writer.count, dict(writer.num_left_out))
    return writer.count


class _Writer:
    """Writes what is not there yet; the source is read from its start every time."""

    def __init__(self, folder: Path, partial: Path) -> None:
        self._folder = folder
        self.left_out = folder / "left_out.jsonl"
        self.num_left_out: Counter[str] = Counter()
        self.count = 0
        self._num_there = _cut_to_whole_lines(partial)
        # Half of a surrogate pair, which JSON can hold and UTF-8 cannot, becomes a question mark.
        self._lines: IO[str] = partial.open("a", encoding="utf-8", errors="replace")
        self._reasons: IO[str] = self.left_out.open("w", encoding="utf-8")
        if self._num_there:
            logger.info("going on behind %d documents", self._num_there)

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._reasons.close()

    def add(self, document: CorpusDocument) -> None:
        if not document.contents.strip():
            self._leave_out(document, "document without a word")
            return
        names = list(self._images(document))
        if self.count >= self._num_there:
            record = {"id": document.id, "title": document.title, "contents": document.contents}
            record |= {"images": names} if names else {}
            self._lines.write(json.dumps(record, ensure_ascii=False) + "\n")
        self.count += 1

    def _images(self, document: CorpusDocument) -> Iterator[str]:
        """Names of the files that a document's images are in, before its line names them."""
        for content in document.images:
            try:
                name = self._name(content)
            except UnusableImageError:
                self._leave_out(document, "image that is none")
                continue
            if self.count >= self._num_there:
                path = self._folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            yield name

    def _name(self, content: bytes) -> str:
        """Of the file for an image. All of it is decoded, unless a killed run did and kept it.

        Raises:
            UnusableImageError: it does not decode.
        """
        digest = hashlib.sha256(content).hexdigest()
        with warnings.catch_warnings():
            # What is so large that Pillow warns of it is taken; twice that is an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with opened_image(io.BytesIO(content)) as image:
                suffix = str(image.format).lower().replace("jpeg", "jpg")
                name = f"images/{digest[:2]}/{digest[:32]}.{suffix}"
                if self.count >= self._num_there or not (self._folder / name).is_file():
                    image.load()
                return name

    def _leave_out(self, document: CorpusDocument, reason: str) -> None:
        self.num_left_out[reason] += 1
        self._reasons.write(json.dumps({"id": document.id, "reason": reason}) + "\n")


def _cut_to_whole_lines(path: Path) -> int:
    """Drop the line that a kill cut off; the number of those before it."""
    if not path.is_file():
        return 0
    count = end = 0
    with path.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            count += 1
            end += len(line)
        file.truncate(end)
    return count


def _claim(folder: Path, options: ImportCorpusOptions) -> None:
    """Note what goes into a folder, or see that it is what went into it before."""
    source = Path(options.source)
    if not source.exists():
        raise ValueError(f"{source}: no such file; source names the corpus to import")
    files = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    ours: dict[str, Any] = {
        "reader": options.reader,
        "source": {path.name: path.stat().st_size for path in files},
    }
    note = folder / NOTE
    if note.is_file():
        if json.loads(note.read_text()) != ours:
            raise ValueError(
                f"{folder} is of another import, {note} says which: name another folder, or "
                "delete it"
            )
    elif any((folder / name).exists() for name in (CORPUS, f"{CORPUS}.partial")):
        raise ValueError(f"{folder} holds a corpus that was not imported: name another folder")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(ours, indent=2) + "\n")
