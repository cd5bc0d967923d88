"""WebQA's images: base64 in the lines of `imgs.tsv`, whose beginnings are in `imgs.lineidx`."""

import base64
import binascii
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from PIL import Image

from pixsearch.datasets.files import decode_image, image_key

_FIRST_ID = 10_000_000  # an image's line is its id modulo this
_SOURCE = "fetch all of WebQA's imgs.7z.001, .002, … (data/README.md) and unpack them together"


def webqa_image_id(root: Path, image_id: int) -> str:
    """The id that examples of the same image share."""
    return f"{image_key(root / 'imgs.tsv')}#{image_id}"


def load_webqa_image(root: Path, image_id: int, *, question: str) -> Image.Image:
    """Decode an image to RGB.

    Raises:
        ValueError: a file is missing, cut or of another release; names the image.
    """
    wanted = f"image {image_id} of question {question!r}"
    begin = _line_begins(root, image_id, wanted)
    tsv = root / "imgs.tsv"
    if not tsv.is_file():
        raise ValueError(f"{tsv}: missing, and with it {wanted}; {_SOURCE}")
    with tsv.open("rb") as file:
        file.seek(begin)
        line = file.readline()
    if not line.endswith(b"\n"):
        raise ValueError(f"{tsv}: ends before or in {wanted}; {_SOURCE}")
    found, _, encoded = line.rstrip().partition(b"\t")
    if found != str(image_id).encode():
        shown = found[:20].decode(errors="replace")
        raise ValueError(
            f"{tsv}: at byte {begin}, where imgs.lineidx has {wanted}, is {shown!r}; the two files "
            "are not of one release"
        )
    try:
        return decode_image(base64.b64decode(encoded, validate=True), example=question)
    except binascii.Error as error:
        raise ValueError(f"{tsv}: {wanted} is no base64 ({error}); {_SOURCE}") from error


def _line_begins(root: Path, image_id: int, wanted: str) -> int:
    path = root / "imgs.lineidx"
    if not path.is_file():
        raise ValueError(f"{path}: missing, and with it the place of {wanted}; {_SOURCE}")
    begins = _line_index(path)
    line = image_id % _FIRST_ID
    if line >= len(begins):
        raise ValueError(
            f"{path}: has {len(begins)} lines, {wanted} would be number {line + 1}; {_SOURCE}"
        )
    return int(begins[line])


@lru_cache(maxsize=1)  # 389,750 numbers
def _line_index(path: Path) -> Int64[np.ndarray, " num_images"]:
    try:
        return np.array(path.read_bytes().split(), dtype=np.int64)
    except ValueError as error:
        raise ValueError(f"{path}: not one number a line ({error}); {_SOURCE}") from error
