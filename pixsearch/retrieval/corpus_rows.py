"""Where the documents of a corpus begin: found by reading all of it, remembered if it is long.

To read 30 million lines takes minutes, and everyone who opens a knowledge base has to. What was
found lies in one memory-mapped file beside the corpus, whose processes share it.
"""

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt64

logger = logging.getLogger(__name__)

SUFFIX = ".rows.npy"  # in the place of .jsonl
REMEMBERED_FROM = 1_000_000  # documents; fewer are read again within seconds
VERSION = 2  # another one where opening a corpus refuses more than it did
HEAD = 4 + hashlib.sha256().digest_size // 8  # version, the stamp, number of documents, the hash


@dataclass(frozen=True, kw_only=True)
class CorpusStamp:
    """By what a corpus is told to be unchanged."""

    num_bytes: int
    changed_at: int

    @classmethod
    def of(cls, corpus: Path) -> "CorpusStamp":
        stat = corpus.stat()
        return cls(num_bytes=stat.st_size, changed_at=stat.st_mtime_ns)


@dataclass(frozen=True, kw_only=True, eq=False)
class CorpusRows:
    """The rows of a corpus whose lines are all well formed and whose ids are unique.

    Attributes:
        sha256: of the corpus.
        starts: place of each row's line in the file, in bytes.
        keys: 64-bit hashes of the ids, sorted.
        rows_by_key: the row that each key belongs to.
        with_images: rows of documents that have images.
    """

    sha256: str
    starts: Int64[np.ndarray, " num_documents"]
    keys: UInt64[np.ndarray, " num_documents"]
    rows_by_key: Int64[np.ndarray, " num_documents"]
    with_images: Int64[np.ndarray, " num_with_images"]


def remember_rows(corpus: Path, stamp: CorpusStamp, rows: CorpusRows) -> None:
    """Write `rows` beside a long corpus; where that is not allowed they are found again next time.

    Args:
        stamp: of the corpus before it was read.
    """
    if len(rows.starts) < REMEMBERED_FROM:
        return
    arrays = (rows.starts, rows.keys.view(np.int64), rows.rows_by_key, rows.with_images)
    path = corpus.with_suffix(SUFFIX)
    partial = path.with_suffix(f".partial-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            np.save(file, np.concatenate([_head(stamp, rows), *arrays]))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        logger.warning("%s cannot be written (%s): opening stays slow", path, error)


def remembered_rows(corpus: Path, stamp: CorpusStamp) -> CorpusRows | None:
    """What `remember_rows` wrote for a corpus with this stamp; None if there is no such file."""
    path = corpus.with_suffix(SUFFIX)
    try:
        held = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        logger.warning("%s cannot be read (%s): %s is read as a whole", path, error, corpus.name)
        return None
    head, body = held[:HEAD], held[HEAD:]
    if len(head) < HEAD or head[:3].tolist() != [VERSION, stamp.num_bytes, stamp.changed_at]:
        return None
    count = int(head[3])
    starts, keys, rows_by_key, with_images = np.split(body, [count, 2 * count, 3 * count])
    return CorpusRows(
        sha256=head[4:].tobytes().hex(),
        starts=starts,
        keys=keys.view(np.uint64),
        rows_by_key=rows_by_key,
        with_images=with_images,
    )


def _head(stamp: CorpusStamp, rows: CorpusRows) -> Int64[np.ndarray, " head"]:
    numbers = [VERSION, stamp.num_bytes, stamp.changed_at, len(rows.starts)]
    digest = np.frombuffer(bytes.fromhex(rows.sha256), dtype=np.int64)
    return np.concatenate([np.array(numbers, dtype=np.int64), digest])
