"""Pictures whose pixels are class labels, and the index that says which labels each of them has.

The index is made once, by decoding every picture of a folder, and kept beside the folder
(`<folder>.index.jsonl`), so that opening a data set afterwards decodes none.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

logger = logging.getLogger(__name__)

LabelArray = UInt8[np.ndarray, "height width"]

_NUM_LABELS = 256  # of 8 bits
_DECODERS = 8  # threads; pictures are decoded outside Python's lock


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """What the index knows of a picture.

    Attributes:
        bytes, changed: size of the file and time of its last change (ns); if either differs, the
            file is read again.
        height: in pixels, 0 for a picture that is not read yet or broken.
        labels: those that occur, in their order.
        broken: why it could not be read, else empty; such a file is read again each time, for the
            reason may have passed.
    """

    name: str
    bytes: int
    changed: int
    height: int = 0
    width: int = 0
    labels: tuple[int, ...] = ()
    broken: str = ""


def read_label_map(path: Path) -> LabelArray:
    """Decode a picture of class labels.

    Raises:
        ValueError: the file is absent, unreadable, or has colours instead of labels.
    """
    try:
        with Image.open(path) as file:
            if file.mode not in ("L", "P"):
                raise ValueError(
                    f"{path}: a picture of mode {file.mode}, not one 8-bit label per pixel; "
                    "fetch the data set's own annotations"
                )
            return np.asarray(file)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; data/README.md says what goes where") from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path}: unreadable label map ({error}); fetch it again") from error


def index_label_maps(folder: Path) -> list[LabelFile]:
    """What is in the `.png` pictures of a folder, by name.

    A folder that cannot be written to is read anew each time, with a warning.

    Raises:
        ValueError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; data/README.md says what goes where")
    index = folder.with_name(f"{folder.name}.index.jsonl")
    with _alone(index):
        known = _read_index(index)
        files = [_known(entry, known) for entry in sorted(os.scandir(folder), key=_name)]
        found = [file for file in files if file is not None]
        if not found:
            raise ValueError(f"{folder}: no .png in it; data/README.md says what goes where")
        unread = [file for file in found if not file.height]
        if unread:
            logger.info("%s: reading the labels of %d pictures, once", folder, len(unread))
            with ThreadPoolExecutor(_DECODERS) as threads:
                read = {file.name: file for file in threads.map(partial(_read, folder), unread)}
            found = [read.get(file.name, file) for file in found]
            _write_index(index, found)
    return found


def _name(entry: os.DirEntry) -> str:
    return entry.name


def _known(entry: os.DirEntry, known: dict[str, LabelFile]) -> LabelFile | None:
    """What the index says of a file that has not changed since; None if it is no picture."""
    if not entry.name.endswith(".png"):
        return None
    status = entry.stat()
    file = LabelFile(name=entry.name, bytes=status.st_size, changed=status.st_mtime_ns)
    old = known.get(entry.name, file)
    same = (old.bytes, old.changed) == (file.bytes, file.changed)
    return old if same and not old.broken else file


def _read(folder: Path, file: LabelFile) -> LabelFile:
    try:
        labels = read_label_map(folder / file.name)
    except ValueError as error:
        return replace(file, broken=str(error))
    height, width = labels.shape
    occurring = np.flatnonzero(np.bincount(labels.ravel(), minlength=_NUM_LABELS))
    return replace(file, height=height, width=width, labels=tuple(occurring.tolist()))


def _read_index(index: Path) -> dict[str, LabelFile]:
    """An index of other fields is of another version of this file, and is made anew."""
    if not index.is_file():
        return {}
    try:
        lines = [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]
        files = [LabelFile(**line | {"labels": tuple(line["labels"])}) for line in lines]
    except (json.JSONDecodeError, TypeError, KeyError):
        logger.warning("%s: not an index of label maps; it is made anew", index)
        return {}
    return {file.name: file for file in files}


def _write_index(index: Path, files: list[LabelFile]) -> None:
    unfinished = index.with_name(f"{index.name}.unfinished")
    try:
        unfinished.write_text("".join(f"{json.dumps(asdict(file))}\n" for file in files))
        os.replace(unfinished, index)
    except OSError as error:
        logger.warning("%s: the index cannot be kept (%s) and will be made again", index, error)


@contextmanager
def _alone(index: Path) -> Iterator[None]:
    """Let one process at a time make an index; where nothing can be written, each makes its own."""
    try:
        file = index.with_name(f"{index.name}.lock").open("a")
    except OSError:
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
