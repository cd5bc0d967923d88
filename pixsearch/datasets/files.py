"""Files that every reader opens: JSON, JSON lines and images, with errors that name the place."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from PIL import Image, UnidentifiedImageError

from pixsearch.sidecar import Stamp, remember, remembered

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 24
REMEMBERED_FROM = 1 << 26  # bytes; the lines of a shorter file are found in a tenth of a second
_LINES = ".lines.npy"
_UNREADABLE = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: the file is absent, or is no JSON; names file and line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; data/README.md says what goes where") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", "?")
        raise ValueError(f"{path}:{line}: not JSON ({error}); mend or fetch it again") from error


def fingerprint(paths: Iterable[Path]) -> str:
    """SHA-256 of files, by name and content."""
    total = hashlib.sha256()
    for path in sorted(paths):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.name}:{content}\n".encode())
    return total.hexdigest()


def require(record: Any, *fields: str, where: str) -> None:
    """Check that a parsed record is an object with these fields.

    Raises:
        ValueError: it is not; names the place and what is missing.
    """
    if not isinstance(record, dict):
        kind = type(record).__name__
        raise ValueError(f"{where}: a {kind}, not an object; mend it there")
    missing = [field for field in fields if field not in record]
    if missing:
        raise ValueError(f"{where}: lacks {', '.join(missing)}; add it there")


def line_offsets(path: Path) -> Int64[np.ndarray, " num_lines"]:
    """Byte at which each line of a file begins, in one pass and without holding the file."""
    starts = [np.zeros(1, dtype=np.int64)]
    position = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            newlines = np.flatnonzero(np.frombuffer(chunk, dtype=np.uint8) == ord("\n"))
            starts.append(newlines.astype(np.int64) + position + 1)
            position += len(chunk)
    offsets = np.concatenate(starts)
    return offsets[:-1] if offsets[-1] == position else offsets


def line_starts(path: Path) -> Int64[np.ndarray, " num_lines"]:
    """The same, for a long file memory-mapped from what was found when it was first opened.

    That lies in `NAME.lines.npy` (`pixsearch.sidecar`) and is made anew when the file has changed.
    """
    if path.stat().st_size < REMEMBERED_FROM:
        return line_offsets(path)
    stamp = Stamp.of(path)
    known = remembered(path, _LINES, stamp)
    if known is not None:
        return known
    offsets = line_offsets(path)
    remember(path, _LINES, stamp, offsets)
    logger.info("%s: found its %d lines; from now on it opens at once", path, len(offsets))
    return offsets


class JsonLines(Sequence):
    """A JSONL file as a sequence of objects, each read and parsed when asked for.

    It holds the lines' offsets alone and no open file, so that it may cross into worker processes.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ValueError(f"{path}: no such file; data/README.md says what goes where")
        self.path = path
        self._offsets = line_starts(path)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        index = range(len(self))[index]
        with self.path.open("rb") as file:
            file.seek(self._offsets[index])
            line = file.readline()
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.where(index)}: not JSON ({error}); mend the line") from error
        require(record, where=self.where(index))
        return record

    def where(self, index: int) -> str:
        """`file:line` of a record, lines counted from one."""
        return f"{self.path}:{index + 1}"


def image_folder(root: Path, *others: Path) -> Path:
    """The folder that a file's image names are relative to: `root/images`, one of `others`, `root`.

    The first that exists is taken.
    """
    for folder in (root / "images", *others):
        if folder.is_dir():
            return folder
    return root


def image_key(path: Path | str) -> str:
    """An id shared by all examples of the same image file, whichever reader found it."""
    return os.path.abspath(path)


def load_image(path: Path, *, example: str, size: tuple[int, int] | None = None) -> Image.Image:
    """Decode an image file to RGB. The EXIF rotation is not applied: annotations know raw pixels.

    Args:
        example: id of the example that wants it, for the error.
        size: height and width in pixels that the annotations were made for, if known.

    Raises:
        ValueError: the file is absent, cannot be decoded, or has another size.
    """
    with _opened(path, example) as file:
        image = file.convert("RGB")
    if size is not None and (image.height, image.width) != size:
        raise ValueError(
            f"{path}: image of {image.height}x{image.width} (height x width), but example "
            f"{example!r} was annotated at {size[0]}x{size[1]}: fetch the images that belong to "
            "the annotations"
        )
    return image


def image_size(path: Path, *, example: str) -> tuple[int, int]:
    """Height and width of an image file in pixels, without decoding it.

    Raises:
        ValueError: the file is absent or no image.
    """
    with _opened(path, example) as file:
        return file.height, file.width


@contextmanager
def _opened(path: Path, example: str) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as file:
            yield file
    except FileNotFoundError as error:
        raise ValueError(
            f"{path}: missing image of example {example!r}; data/README.md says what goes where"
        ) from error
    except _UNREADABLE as error:
        raise ValueError(
            f"{path}: unreadable image of example {example!r} ({error}); fetch it again"
        ) from error


def decode_image(encoded: bytes, *, example: str) -> Image.Image:
    """Decode an image file held in memory to RGB.

    Raises:
        ValueError: the bytes are no image; names the example.
    """
    try:
        return Image.open(BytesIO(encoded)).convert("RGB")
    except _UNREADABLE as error:
        raise ValueError(
            f"unreadable embedded image of example {example!r} ({error}); fetch the file again"
        ) from error
