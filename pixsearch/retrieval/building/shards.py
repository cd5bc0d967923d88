"""Vectors on disk in shards, each finished or not there: what a killed build goes on from.

FOLDER/00003.npy     float32, (items of the shard, dimension)
FOLDER/00003.json    done-marker: what the vectors are of, the file's sha256, who wrote it
FOLDER/00003.npy.HOST-PID.partial    vectors that this process encodes
FOLDER/lock          byte n is locked by the process that encodes shard n
"""

import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pixsearch.retrieval.building.encoding import Encode, Encoding
from pixsearch.retrieval.building.processes import Process
from pixsearch.retrieval.manifest import file_sha256
from pixsearch.retrieval.vectors import Vectors

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2


class Shards:
    """The vectors of all items of a source, `size` items to a shard.

    A shard is valid for the very items and the encoder that its marker names, whatever else of the
    corpus has changed.
    """

    def __init__(
        self, folder: Path, encoding: Encoding, *, encoder: dict[str, Any], size: int
    ) -> None:
        """
        Args:
            encoder: all that decides the vector of an item.
        """
        self.folder = folder
        self._encoding = encoding
        self._encoder = encoder
        self._size = size
        self._count = len(encoding.source.rows)
        self._done: set[int] = set()  # verified by this process
        self._refused: dict[int, int] = {}  # shard -> time of the marker that did not hold

    def __len__(self) -> int:
        return -(-self._count // self._size)

    def num_items(self, number: int) -> int:
        first, last = self._span(number)
        return last - first

    def is_done(self, number: int) -> bool:
        """Whether the shard is there, whole, and of what it has to be."""
        if number in self._done:
            return True
        try:
            written = self._marker(number).stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if self._refused.get(number) != written:  # else it was read before, and is still the same
            if self._is_valid(number):
                self._done.add(number)
            else:
                self._refused[number] = written
        return number in self._done

    def write(
        self, number: int, encode: Encode, process: Process, advance: Callable[[int], Any]
    ) -> None:
        """Encode a shard. A kill at any point leaves it not done.

        Args:
            advance: told how many further items are encoded.

        Raises:
            ValueError: see `Encoding.windows`; or another process encodes the shard.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path, marker = self._path(number), self._marker(number)
        with self._alone(number):
            marker.unlink(missing_ok=True)
            partial = _own(path)
            self._encode(number, partial, encode, advance)
            record = {
                "of": self._expected(number),
                "sha256": file_sha256(partial),
                "written_by": str(process),
            }
            partial.rename(path)
            _write_aside(marker, json.dumps(record, indent=2) + "\n")
        self._done.add(number)

    def _encode(
        self, number: int, path: Path, encode: Encode, advance: Callable[[int], Any]
    ) -> None:
        first, last = self._span(number)
        shape = (last - first, self._encoding.dimension)
        vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        for place, window in self._encoding.windows(first, last, encode):
            vectors[place - first : place - first + len(window)] = window
            advance(len(window))
        vectors.flush()

    def wait(self, seconds: float) -> None:
        """Return when all shards are done, whoever writes them.

        Raises:
            TimeoutError: for `seconds` no further one was done.
        """
        last_news = time.monotonic()
        while missing := [number for number in range(len(self)) if number not in self._done]:
            if any([self.is_done(number) for number in missing]):
                last_news = time.monotonic()
            elif time.monotonic() - last_news > seconds:
                raise TimeoutError(
                    f"{self.folder}: shard {', '.join(map(str, missing[:5]))} of {len(self)} did "
                    f"not come for build.wait_seconds={seconds:g}: has its process ended? Start "
                    "the build again, it goes on from what is done"
                )
            else:
                time.sleep(POLL_SECONDS)

    def vectors(self) -> Vectors:
        """All vectors, memory-mapped. All shards must be done."""
        assert all(self.is_done(number) for number in range(len(self)))
        return Vectors([np.load(self._path(number), mmap_mode="r") for number in range(len(self))])

    def remove_others(self) -> None:
        """Delete what a larger corpus, smaller shards or a kill have left.

        What belongs to a shard that another process encodes is left to it.
        """
        valid = {path for n in range(len(self)) for path in (self._path(n), self._marker(n))}
        for path in set(self.folder.iterdir()) - valid:
            number = path.name.partition(".")[0]
            if number.isdecimal() and self._is_idle(int(number)):
                path.unlink()

    @contextmanager
    def _alone(self, number: int) -> Iterator[None]:
        """Hold the lock of a shard; the system lets go of it however this process ends.

        Raises:
            ValueError: another process holds it.
        """
        with (self.folder / "lock").open("a") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
                partial = ", ".join(path.name for path in self.folder.glob(f"{number:05}.npy.*"))
                raise ValueError(
                    f"another process encodes shard {number} of {self.folder} ({partial}, named "
                    "by host and process): end it, or wait until it ends"
                ) from error
            yield

    def _is_idle(self, number: int) -> bool:
        try:
            with self._alone(number):
                return True
        except ValueError:
            return False

    def _is_valid(self, number: int) -> bool:
        try:
            record = json.loads(self._marker(number).read_text())
            found, sha256 = record["of"], record["sha256"]
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError):
            logger.warning("%s is no done-marker: encoding anew", self._marker(number))
            return False
        expected = self._expected(number)
        if found != expected:
            changed = [name for name in expected if found.get(name) != expected[name]]
            logger.info("shard %d: %s changed: encoding anew", number, ", ".join(changed))
            return False
        return self._is_whole(number, sha256)

    def _is_whole(self, number: int, sha256: str) -> bool:
        path = self._path(number)
        whole = path.is_file() and file_sha256(path) == sha256
        if not whole:
            logger.warning("%s is not what was written there: encoding anew", path)
        return whole

    def _expected(self, number: int) -> dict[str, Any]:
        first, last = self._span(number)
        items_sha256 = self._encoding.source.digest(first, last)
        return {**self._encoder, "first": first, "last": last, "items_sha256": items_sha256}

    def _span(self, number: int) -> tuple[int, int]:
        first = number * self._size
        return first, min(first + self._size, self._count)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05}.npy"

    def _marker(self, number: int) -> Path:
        return self.folder / f"{number:05}.json"


def _own(path: Path) -> Path:
    """A name beside `path` that no other process writes to, on this machine or another."""
    return path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.partial")


def _write_aside(path: Path, text: str) -> None:
    partial = _own(path)
    partial.write_text(text)
    partial.rename(path)
