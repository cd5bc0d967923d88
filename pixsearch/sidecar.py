"""What was worked out from a long file: an array that is remembered beside it and memory-mapped.

Where the file's folder cannot be written to, the array lies in the user's cache folder instead,
`$XDG_CACHE_HOME/pixsearch` or `~/.cache/pixsearch`.
"""

import hashlib
import logging
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
from jaxtyping import Int64

logger = logging.getLogger(__name__)

VERSION = 1
ENDS_BYTES = 1 << 16  # of a file's beginning and of its end, which its stamp hashes
HEAD = 5 + hashlib.sha256().digest_size // 8  # version, stamp, number of values, their checksum


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """By what a file is told to be unchanged, without reading all of it.

    Attributes:
        changed_at: in nanoseconds.
        ends: SHA-256 of its first and its last 64 KiB.
    """

    num_bytes: int
    changed_at: int
    ends: bytes

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            ends = hashlib.sha256(file.read(ENDS_BYTES))
            file.seek(max(0, stat.st_size - ENDS_BYTES))
            ends.update(file.read(ENDS_BYTES))
        return cls(num_bytes=stat.st_size, changed_at=stat.st_mtime_ns, ends=ends.digest())


def remembered(source: Path, kind: str, stamp: Stamp) -> Int64[np.ndarray, " length"] | None:
    """What `remember` wrote of a file with this stamp, memory-mapped; None if there is nothing.

    What belongs to an earlier state of the file, or is damaged, is told in a log line.
    """
    for path in _places(source, kind):
        if path.exists():
            try:
                return _read(path, stamp)
            except (OSError, ValueError, EOFError) as error:
                logger.warning("%s: %s; it is made anew from %s", path, error, source)
    return None


def remember(source: Path, kind: str, stamp: Stamp, values: Int64[np.ndarray, " length"]) -> None:
    """Write an array beside a file, or in the cache folder; where neither can be, say so.

    It appears under its name when it is whole. Processes that do the same at once write the same.

    Args:
        kind: end of the file's name.
        stamp: of the file before it was read, so that a change while it was read is noticed.
    """
    content = np.concatenate([_head(stamp, values), values])
    reasons = []
    for path in _places(source, kind):
        try:
            _write(path, content)
        except OSError as error:
            reasons.append(f"{path} ({error.strerror})")
        else:
            return
    where = " nor ".join(reasons)
    logger.warning("%s: opening stays slow, what was found fits neither in %s", source, where)


def _places(source: Path, kind: str) -> tuple[Path, Path]:
    """Beside the file, and in the cache folder under a hash of its full name."""
    whole = os.path.abspath(source)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pixsearch"
    name = hashlib.sha256(os.fsencode(whole)).hexdigest()[:32]
    return source.with_name(source.name + kind), cache / f"{name}{kind}"


def _head(stamp: Stamp, values: Int64[np.ndarray, " length"]) -> Int64[np.ndarray, " head"]:
    numbers = [VERSION, stamp.num_bytes, stamp.changed_at, len(values), zlib.crc32(values)]
    return np.concatenate([np.array(numbers), np.frombuffer(stamp.ends, dtype=np.int64)])


def _read(path: Path, stamp: Stamp) -> Int64[np.ndarray, " length"]:
    held = np.load(path, mmap_mode="r")
    if not isinstance(held, np.ndarray) or held.dtype != np.int64 or held.ndim != 1:
        raise ValueError("no array of whole numbers")
    head, values = held[:HEAD], np.asarray(held[HEAD:])
    if len(head) < HEAD or head[0] != VERSION:
        raise ValueError("of another version of this project")
    expected = _head(stamp, values)
    if head[[1, 2]].tolist() != expected[[1, 2]].tolist() or head[5:].tobytes() != stamp.ends:
        raise ValueError("of an earlier state of the file")
    if head[[3, 4]].tolist() != expected[[3, 4]].tolist():
        raise ValueError("damaged, its checksum differs")
    return values


def _write(path: Path, content: Int64[np.ndarray, " length"]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial-{uuid4().hex}")
    try:
        with partial.open("xb") as file:
            np.save(file, content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
