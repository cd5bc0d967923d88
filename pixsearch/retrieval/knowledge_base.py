"""The knowledge base: documents on disk, id -> document. Only offsets are kept in memory."""

import codecs
import hashlib
import json
import mmap
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixsearch.queries import Passage
from pixsearch.retrieval.corpus_rows import (
    CorpusRows,
    remember_rows,
    remembered_rows,
)
from pixsearch.retrieval.hits import Hit
from pixsearch.retrieval.image_decoding import UnusableImageError, opened_image
from pixsearch.sidecar import Stamp

SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # as JSON escapes it, alone or in a pair

BLOCK = 4096  # bytes of an image's file that are hashed at its start, its middle and its end

BLOCK = 4096  # bytes of an image's file that are hashed at its start, its middle and its end


@dataclass(frozen=True, kw_only=True)
class Document:
    """One line of corpus.jsonl: {"id", "title", "contents", "images": ["images/x.png", ...]}.

    A line may be a chunk of a longer document: {…, "document": "Q42", "chunk": 3}. The chunks of
    a document stand on consecutive lines, numbered from 0; the first, its lead, has its images.

    Attributes:
        images: paths relative to the knowledge base's folder.
        document: id of the document that this is a chunk of; of a whole document its own id.
        chunk: its number in that document; 0 for the lead and for a whole document.
    """

    id: str
    title: str
    contents: str
    images: tuple[str, ...] = ()
    document: str
    chunk: int = 0

    @property
    def text(self) -> str:
        """What the text index holds of it."""
        return f"{self.title}\n{self.contents}"


class KnowledgeBase:
    """A folder with corpus.jsonl and images, memory-mapped. A document's row is its place in it.

    `KnowledgeBase(folder)` reads every line once: 24 bytes per document stay in memory. Of a corpus
    of millions it remembers where the lines begin (`corpus_rows.py`), and opens at once thereafter.

    Attributes:
        sha256: of corpus.jsonl.

    Raises:
        ValueError: no corpus, no document in it, a line that is no document, a chunk that does not
            follow the one before it, an id that occurs twice; the message names file and line.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.corpus_path = self.folder / "corpus.jsonl"
        if not self.corpus_path.is_file():
            raise ValueError(f"{self.corpus_path} is missing: is knowledge_base the right folder?")
        if self.corpus_path.stat().st_size == 0:
            raise ValueError(f"{self.corpus_path} is empty: an index needs at least one document")
        stamp = Stamp.of(self.corpus_path)
        with self.corpus_path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        remembered = remembered_rows(self.corpus_path, stamp)
        self._rows = self._scan() if remembered is None else remembered
        self.sha256 = self._rows.sha256
        if remembered is None:
            self._refuse_duplicates()
            remember_rows(self.corpus_path, stamp, self._rows)

    def __len__(self) -> int:
        return len(self._rows.starts)

    @property
    def has_images(self) -> bool:
        return len(self._rows.with_images) > 0

    def __iter__(self) -> Iterator[Document]:
        return (self.document(row) for row in range(len(self)))

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._find(id) is not None

    def __getitem__(self, id: str) -> Document:
        row = self._find(id)
        if row is None:
            raise KeyError(f"{self.corpus_path} has no document {id!r}")
        return self.document(row)

    def document(self, row: int) -> Document:
        """The document in a row, as the index counts them."""
        start = int(self._rows.starts[row])
        return _parse(self._bytes[start : self._line_end(start)])

    def chunk_rows(self, row: int) -> range:
        """The rows of all chunks of the document that the chunk in `row` belongs to, in order."""
        chunk = self.document(row)
        lead, end = row - chunk.chunk, row + 1
        while end < len(self) and _follows(self.document(end), self.document(end - 1)):
            end += 1
        return range(lead, end)

    def passages(self, found: Sequence[Sequence[Hit]]) -> list[list[Passage]]:
        """The documents of each query's hits as what a search returns."""
        records = iter(self._records([hit.row for hits in found for hit in hits]))
        return [[_passage(next(records), hit.score) for hit in hits] for hits in found]

    def _records(self, rows: list[int]) -> list[dict[str, Any]]:
        """The lines of all rows, which were checked at the start, parsed in one call: in half the
        time that it takes one by one."""
        starts = self._rows.starts[rows].tolist()
        lines = [self._bytes[start : self._line_end(start)] for start in starts]
        return json.loads(b"[" + b",".join(lines) + b"]")

    def image(self, document: Document, path: str) -> Image.Image:
        """Decode one of a document's images.

        Raises:
            ValueError: it is missing or does not decode.
        """
        self.image_size(document, path)
        try:
            with opened_image(self.folder / path) as image:
                return image.convert("RGB")
        except UnusableImageError as error:
            raise ValueError(
                f"{self.folder / path} (document {document.id}) {error}: "
                f"replace it or take it out of {self.corpus_path}"
            ) from error

    def image_size(self, document: Document, path: str) -> int:
        """Length of the image's file in bytes.

        Raises:
            ValueError: it is missing.
        """
        try:
            return (self.folder / path).stat().st_size
        except FileNotFoundError as error:
            raise ValueError(
                f"{self.folder / path} (document {document.id}) is missing: "
                f"add it or take it out of {self.corpus_path}"
            ) from error

    def images_sha256(self) -> str:
        """sha256 of the corpus with `image_digest` of all its image files."""
        digest = hashlib.sha256(self.sha256.encode())
        for row in self._rows.with_images.tolist():
            document = self.document(row)
            for path in document.images:
                digest.update(f"{path}:{self.image_digest(document, path)}\n".encode())
        return digest.hexdigest()

    def image_digest(self, document: Document, path: str) -> str:
        """sha256 of the length of an image's file and of three blocks of it.

        Not of all of it: an index is checked against it at every start, and reading millions of
        images then would take hours. The length alone does not do, for a redrawn BMP or TIFF keeps
        it; the block in the middle is of the picture's middle, where a border is not.

        Raises:
            ValueError: it is missing.
        """
        size = self.image_size(document, path)
        digest = hashlib.sha256(f"{size}\n".encode())
        with (self.folder / path).open("rb", buffering=0) as file:
            for start in sorted({0, max(0, (size - BLOCK) // 2), max(0, size - BLOCK)}):
                file.seek(start)
                digest.update(file.read(BLOCK))
        return digest.hexdigest()

    def _scan(self) -> CorpusRows:
        starts, keys, with_images = array("q"), array("Q"), array("q")
        previous: Document | None = None
        for number, (start, line) in enumerate(self._lines(), start=1):
            if line.strip():
                document = self._parse_line(line, number)
                self._refuse_stray_chunk(document, previous, number)
                if document.images:
                    with_images.append(len(starts))
                starts.append(start)
                keys.append(_key(document.id))
                previous = document
        if not starts:
            raise ValueError(f"{self.corpus_path} is empty: an index needs at least one document")
        unsorted = np.array(keys, dtype=np.uint64)
        rows_by_key = np.argsort(unsorted, kind="stable")
        return CorpusRows(
            sha256=hashlib.sha256(self._bytes).hexdigest(),
            starts=np.array(starts, dtype=np.int64),
            keys=unsorted[rows_by_key],
            rows_by_key=rows_by_key,
            with_images=np.array(with_images, dtype=np.int64),
        )

    def _refuse_stray_chunk(self, chunk: Document, previous: Document | None, number: int) -> None:
        if chunk.chunk > 0 and (previous is None or not _follows(chunk, previous)):
            raise ValueError(
                f"{self.corpus_path}:{number}: chunk {chunk.chunk} of {chunk.document!r} does not "
                f"follow its chunk {chunk.chunk - 1}: write the chunks of a document together, in "
                "order, from 0"
            )

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        start = len(codecs.BOM_UTF8) if self._bytes[:3] == codecs.BOM_UTF8 else 0
        while start < len(self._bytes):
            end = self._line_end(start)
            yield start, self._bytes[start:end]
            start = end

    def _line_end(self, start: int) -> int:
        newline = self._bytes.find(b"\n", start)
        return len(self._bytes) if newline < 0 else newline + 1

    def _parse_line(self, line: bytes, number: int) -> Document:
        try:
            document = _parse(line)
            _refuse_half_pairs(line, document)
            return document
        except (ValueError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{self.corpus_path}:{number}: {_reason(error)}; a line is "
                '{"id": str, "title": str, "contents": str, "images": [str, ...]}, '
                'of a chunk also "document": str, "chunk": int'
            ) from error

    def _find(self, id: str) -> int | None:
        key = np.uint64(_key(id))
        start = np.searchsorted(self._rows.keys, key, side="left")
        end = np.searchsorted(self._rows.keys, key, side="right")
        rows = [int(row) for row in self._rows.rows_by_key[start:end]]
        return next((row for row in rows if self.document(row).id == id), None)

    def _refuse_duplicates(self) -> None:
        for place in np.flatnonzero(self._rows.keys[1:] == self._rows.keys[:-1]):
            first, second = (int(row) for row in self._rows.rows_by_key[place : place + 2])
            id = self.document(first).id
            if id == self.document(second).id:
                lines = " and ".join(str(self._line_number(row)) for row in (first, second))
                raise ValueError(
                    f"{self.corpus_path}: lines {lines} both have the id {id!r}: make ids unique"
                )

    def _line_number(self, row: int) -> int:
        return self._bytes[: int(self._rows.starts[row])].count(b"\n") + 1


def _key(id: str) -> int:
    """A 64-bit hash of an id, the same in every process. Equal keys are compared by id."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "little")


def _parse(line: bytes) -> Document:
    record = json.loads(line.decode("utf-8"))  # bytes may begin with a mark or be UTF-16
    title, images = record.get("title", ""), record.get("images", [])
    for name in ("id", "contents"):
        if not isinstance(record[name], str) or not record[name].strip():
            raise ValueError(f"{name} is {record[name]!r}, not a text")
    if not isinstance(title, str):
        raise ValueError(f"title is {title!r}, not a text")
    if not isinstance(images, list) or not all(isinstance(path, str) for path in images):
        raise ValueError(f"images is {images!r}, not a list of paths")
    document, chunk = _place(record)
    if chunk > 0 and images:
        raise ValueError(f"images of chunk {chunk}: the lead, chunk 0, has a document's images")
    return Document(
        id=record["id"],
        title=title,
        contents=record["contents"],
        images=tuple(images),
        document=document,
        chunk=chunk,
    )


def _refuse_half_pairs(line: bytes, document: Document) -> None:
    """JSON can hold half of a surrogate pair, which no encoder and no hash can take.

    Raises:
        ValueError: the document does.
    """
    if SURROGATE.search(line) is None:
        return
    for text in (document.id, document.text, document.document, *document.images):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(text[error.start]):04x}"
            raise ValueError(
                f"{half} is half of a character: write it as a whole or not"
            ) from error


def _place(record: dict[str, Any]) -> tuple[str, int]:
    """A line's document and its number therein."""
    if "document" not in record and "chunk" not in record:
        return record["id"], 0
    document, chunk = record["document"], record["chunk"]
    if not isinstance(document, str) or not document.strip():
        raise ValueError(f"document is {document!r}, not an id")
    if type(chunk) is not int or chunk < 0:
        raise ValueError(f"chunk is {chunk!r}, not a number from 0")
    return document, chunk


def _follows(chunk: Document, previous: Document) -> bool:
    return (chunk.document, chunk.chunk) == (previous.document, previous.chunk + 1)


def _passage(record: dict[str, Any], score: float) -> Passage:
    """`Passage(…)` in half the time: a frozen dataclass sets its fields one by one."""
    passage = object.__new__(Passage)
    passage.__dict__.update(
        id=record["id"],
        title=record.get("title", ""),
        text=record["contents"],
        score=score,
    )
    return passage


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return str(error).splitlines()[0]
