"""What became of each image of a source: append-only JSON lines beside the images."""

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from pixsearch.line_store import drop_cut_line

MANIFEST = "images.jsonl"
NOT_FETCHED = "not fetched"
KEY_BYTES = 16  # of the address's hash, kept in memory


class Status(StrEnum):
    """What a run found out about an image; `deferred`, nothing: the next run asks for it again."""

    stored = "stored"
    quarantined = "quarantined"
    deferred = "deferred"


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """A line of images.jsonl. Of several lines of an address the last one holds.

    Attributes:
        sha256: of the stored file.
        bytes, width, height: of the stored file.
        attempts: requests that it took; 0 for a file that was at hand.
        reason: why it is not stored.
    """

    url: str
    status: Status
    sha256: str = ""
    bytes: int = 0
    width: int = 0
    height: int = 0
    attempts: int = 0
    reason: str = ""


def image_path(url: str) -> str:
    """Where an image is stored, relative to the knowledge base; told by its address alone.

    >>> image_path("https://example.org/a.png")
    'images/07/077c887d094368c955d80cb3562e2e02.jpg'
    """
    name = _key(url).hex()
    return f"images/{name[:2]}/{name}.jpg"


class ImageManifest:
    """The manifest of a knowledge base's images; some 100 bytes per image are kept in memory.

    Made by `ImageManifest.open(folder)`, to be written, or `ImageManifest.read(folder)`.
    """

    def __init__(self, path: Path, file: BinaryIO | None, *, retry_quarantined: bool) -> None:
        self._file = file
        self._settled: set[bytes] = set()  # keys of addresses that are not asked for again
        self._claimed: set[bytes] = set()  # of those that this run asks or asked for
        self._reasons: dict[bytes, str] = {}  # of those that are not stored
        for record in _records(path):
            self._note(record)
        if retry_quarantined:
            self._settled -= self._reasons.keys()

    @classmethod
    @contextmanager
    def open(cls, folder: Path, *, retry_quarantined: bool = False) -> Iterator["ImageManifest"]:
        """The folder's manifest, for one process at a time. A line cut by a kill is dropped.

        Raises:
            ValueError: another process writes it, or a line is broken.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / MANIFEST
        with path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(
                    f"{path}: another process fetches images there; wait for it, or set output_dir"
                ) from error
            drop_cut_line(path)
            yield cls(path, file, retry_quarantined=retry_quarantined)

    @classmethod
    def read(cls, folder: Path) -> "ImageManifest":
        """The manifest as it is, to be asked only; empty where there is none."""
        return cls(folder / MANIFEST, None, retry_quarantined=False)

    def claim(self, url: str) -> bool:
        """Whether this address is still to be asked for; whoever is told so appends its record."""
        key = _key(url)
        if key in self._settled or key in self._claimed:
            return False
        self._claimed.add(key)
        return True

    def append(self, record: ImageRecord) -> None:
        """Write a line; when this returns, a kill of the process cannot lose it."""
        assert self._file is not None
        self._file.write(json.dumps(asdict(record)).encode() + b"\n")
        self._file.flush()
        self._note(record)

    def is_stored(self, url: str) -> bool:
        key = _key(url)
        return key in self._settled and key not in self._reasons

    def reason(self, url: str) -> str:
        """Why an image is not stored."""
        return self._reasons.get(_key(url), NOT_FETCHED)

    def _note(self, record: ImageRecord) -> None:
        key = _key(record.url)
        if record.status is not Status.deferred:
            self._claimed.discard(key)
            self._settled.add(key)
        self._reasons.pop(key, None)
        if record.status is not Status.stored:
            self._reasons[key] = record.reason


def _records(path: Path) -> Iterator[ImageRecord]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                values = json.loads(line)
                yield ImageRecord(**{**values, "status": Status(values["status"])})
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}:{number}: not a line of an image manifest; remove it, and the image "
                    "is looked at again"
                ) from error


def _key(url: str) -> bytes:
    return hashlib.sha256(url.encode()).digest()[:KEY_BYTES]
