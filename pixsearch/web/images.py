"""Images of a request, decoded with care: they come from anybody."""

import base64
import binascii
import io
from dataclasses import dataclass

from PIL import Image

from pixsearch.config import MAX_SIDE_RATIO
from pixsearch.web.refusals import TooLarge

FORMATS = ("PNG", "JPEG", "WEBP")  # the fewer decoders outsiders reach, the better
MEGA = 1e6


@dataclass(kw_only=True)
class PixelBudget:
    """How many pixels a request may still make the server decode.

    Attributes:
        per_image, left: in megapixels.
    """

    per_image: float
    left: float

    def spend(self, width: int, height: int) -> None:
        """Take an image's pixels from what is left.

        Raises:
            TooLarge: the image, or all of them together, have too many; or it is little more than a
                line, which would grow when a model's input is made of it.
        """
        if max(width, height) > MAX_SIDE_RATIO * min(width, height):
            raise TooLarge(
                f"{width}x{height} pixels: one side is more than {MAX_SIDE_RATIO} times the other; "
                "send a part of the image"
            )
        megapixels = width * height / MEGA
        if megapixels > self.per_image:
            raise TooLarge(
                f"{width}x{height} pixels are more than {self.per_image:g} megapixels: "
                "send a smaller image"
            )
        if megapixels > self.left:
            raise TooLarge("the images of the request together have too many pixels: split it")
        self.left -= megapixels


def decode_image(text: str, budget: PixelBudget) -> Image.Image:
    """The RGB image of a base64 text or a `data:image/…;base64,…` URL.

    Its size is read and judged before any pixel is decoded. An EXIF rotation is not applied, as in
    all of this project's data: boxes and masks count the pixels of the file.

    Raises:
        ValueError: it is no base64, no PNG, JPEG or WebP, or is broken.
        TooLarge: it has too many pixels, or one side is far longer than the other.
    """
    try:
        return _decode(_bytes(text), budget)
    except TooLarge:
        raise
    except Exception as error:  # decoders raise SyntaxError, struct.error, EOFError and others
        raise ValueError(f"it is no PNG, JPEG or WebP in base64 ({error})") from error


def _bytes(text: str) -> bytes:
    if text.startswith("data:"):
        header, _, text = text.partition(",")
        if not header.endswith(";base64"):
            raise ValueError("its data URL is not in base64")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def _decode(data: bytes, budget: PixelBudget) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            budget.spend(*image.size)
            return image.convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(str(error)) from error
