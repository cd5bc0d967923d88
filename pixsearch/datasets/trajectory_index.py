"""What has to be known of all lines of a trajectory file, found in one pass over it.

Which lines are no JSON objects, which have the id of an earlier one, and which show the same image.
Of a long file that lies in `NAME.index.npy` (`pixsearch.sidecar`) and is memory-mapped.
"""

import json
import logging
import os
import posixpath
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from pixsearch.datasets.files import REMEMBERED_FROM, JsonLines, image_key
from pixsearch.datasets.image_index import NO_IMAGE, ImageIndex
from pixsearch.datasets.questions.records import repeated_rows
from pixsearch.key_table import key_hash
from pixsearch.sidecar import Stamp, remember, remembered

logger = logging.getLogger(__name__)

_INDEX = ".index.npy"
_UTF8 = ("utf-8", "surrogatepass")  # JSON may hold half a character


@dataclass(frozen=True, kw_only=True, eq=False)
class TrajectoryIndex:
    """
    Attributes:
        broken: rows that are no JSON objects.
        repeated: rows whose id stands in an earlier row, each followed by the first that has it.
        images: place of each row's image in `name_ends`; `NO_IMAGE` without one, and in rows of
            the two kinds above.
        name_ends: where each image's name ends in `names`.
        names: of the images, as the lines give them, in UTF-8 and filled up with zeros.
    """

    broken: Int64[np.ndarray, " num_broken"]
    repeated: Int64[np.ndarray, " twice_num_repeated"]
    images: Int64[np.ndarray, " num_rows"]
    name_ends: Int64[np.ndarray, " num_images"]
    names: Int64[np.ndarray, " num_words"]

    def first_of_repeated(self) -> dict[int, int]:
        """Rows whose id stands earlier already, each with the first row that has it."""
        rows, firsts = self.repeated[::2].tolist(), self.repeated[1::2].tolist()
        return dict(zip(rows, firsts, strict=True))

    def image_index(self, folder: Path) -> ImageIndex:
        """
        Args:
            folder: that the names count from.
        """
        return ImageIndex(numbers=self.images, id_of=partial(_image_id, index=self, folder=folder))


def open_index(lines: JsonLines) -> TrajectoryIndex:
    """The index of a file; a long one is read through once, until it changes."""
    path = lines.path
    if path.stat().st_size < REMEMBERED_FROM:
        return _scan(lines)
    stamp = Stamp.of(path)
    known = remembered(path, _INDEX, stamp)
    if known is not None:
        return _unpacked(known)
    index = _scan(lines)
    remember(path, _INDEX, stamp, _packed(index))
    logger.info("%s: found its ids and images; from now on it opens at once", path)
    return index


def _scan(lines: JsonLines) -> TrajectoryIndex:
    """Besides hashes, all that is held meanwhile are the images' names."""
    broken, ids, images = array("q"), array("Q"), array("Q")
    names, ends = bytearray(), array("q")
    for row, record in enumerate(_records(lines.path)):
        name = _image_name(record)
        if record is None:
            broken.append(row)
        ids.append(key_hash(repr((record or {}).get("id"))))
        images.append(key_hash(name))
        names += name.encode(*_UTF8)
        ends.append(len(names))
    repeated = repeated_rows(np.array(ids, dtype=np.uint64), lambda row: _id(lines, row))
    lengths = np.diff(np.array(ends, dtype=np.int64), prepend=0)
    shown = lengths > 0
    shown[[*repeated]] = False
    numbers, firsts = _numbered(np.array(images, dtype=np.uint64), shown)
    kept = b"".join(names[ends[row] - lengths[row] : ends[row]] for row in firsts.tolist())
    return TrajectoryIndex(
        broken=np.array(broken, dtype=np.int64),
        repeated=np.array([*repeated.items()], dtype=np.int64).ravel(),
        images=numbers,
        name_ends=np.cumsum(lengths[firsts]),
        names=np.frombuffer(kept.ljust(-(-len(kept) // 8) * 8, b"\0"), dtype=np.int64),
    )


def _records(path: Path) -> Iterator[dict[str, Any] | None]:
    """Every line; None for one that is no JSON object."""
    with path.open("rb") as file:
        for line in file:
            try:
                record = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError):
                record = None
            yield record if isinstance(record, dict) else None


def _image_name(record: dict[str, Any] | None) -> str:
    """One spelling of it; empty without an image."""
    image = (record or {}).get("image")
    return posixpath.normpath(image) if isinstance(image, str) else ""


def _id(lines: JsonLines, row: int) -> Any:
    """None of a line that is broken."""
    try:
        return lines[row].get("id")
    except ValueError:
        return None


def _numbered(
    hashes: UInt64[np.ndarray, " num_rows"], shown: Bool[np.ndarray, " num_rows"]
) -> tuple[Int64[np.ndarray, " num_rows"], Int64[np.ndarray, " num_images"]]:
    """A number for each row's image, the same for the same; and a row of each image."""
    numbers = np.full(len(hashes), NO_IMAGE, dtype=np.int64)
    rows = np.flatnonzero(shown)
    _, places, numbers[rows] = np.unique(hashes[rows], return_index=True, return_inverse=True)
    return numbers, rows[places]


def _image_id(number: int, *, index: TrajectoryIndex, folder: Path) -> str:
    begin = index.name_ends[number - 1] if number else 0
    name = index.names.view(np.uint8)[begin : index.name_ends[number]]
    return image_key(os.path.join(folder, name.tobytes().decode(*_UTF8)))


def _packed(index: TrajectoryIndex) -> Int64[np.ndarray, " num_values"]:
    """All arrays in one, behind their lengths."""
    arrays = [getattr(index, field.name) for field in fields(index)]
    return np.concatenate([np.array([len(each) for each in arrays]), *arrays])


def _unpacked(values: Int64[np.ndarray, " num_values"]) -> TrajectoryIndex:
    names = [field.name for field in fields(TrajectoryIndex)]
    ends = np.cumsum(values[: len(names)])
    arrays = np.split(values[len(names) :], ends[:-1])
    return TrajectoryIndex(**dict(zip(names, arrays, strict=True)))
