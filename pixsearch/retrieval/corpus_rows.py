"""Where the documents of a corpus begin: found by reading all of it, remembered if it is long.

To read 30 million lines takes minutes, and everyone who opens a knowledge base has to. What was
found lies in one memory-mapped file beside the corpus, whose processes share it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt64

from pixsearch.sidecar import Stamp, remember, remembered

SUFFIX = ".rows.npy"  # behind the corpus's name
REMEMBERED_FROM = 1_000_000  # documents; fewer are read again within seconds
VERSION = 3  # another one where opening a corpus refuses more than it did
HEAD = 2 + hashlib.sha256().digest_size // 8  # version, number of documents, the hash


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


def remember_rows(corpus: Path, stamp: Stamp, rows: CorpusRows) -> None:
    """Remember the rows of a long corpus (`pixsearch.sidecar`).

    Args:
        stamp: of the corpus before it was read.
    """
    if len(rows.starts) < REMEMBERED_FROM:
        return
    head = np.array([VERSION, len(rows.starts)], dtype=np.int64)
    sha256 = np.frombuffer(bytes.fromhex(rows.sha256), dtype=np.int64)
    arrays = (rows.starts, rows.keys.view(np.int64), rows.rows_by_key, rows.with_images)
    remember(corpus, SUFFIX, stamp, np.concatenate([head, sha256, *arrays]))


def remembered_rows(corpus: Path, stamp: Stamp) -> CorpusRows | None:
    """What `remember_rows` kept of a corpus with this stamp, memory-mapped; None if nothing."""
    held = remembered(corpus, SUFFIX, stamp)
    if held is None or held[0] != VERSION:
        return None
    head, body = held[:HEAD], held[HEAD:]
    count = int(head[1])
    starts, keys, rows_by_key, with_images = np.split(body, [count, 2 * count, 3 * count])
    return CorpusRows(
        sha256=head[2:].tobytes().hex(),
        starts=starts,
        keys=keys.view(np.uint64),
        rows_by_key=rows_by_key,
        with_images=with_images,
    )
