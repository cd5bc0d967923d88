"""Opens image files that others made, so that a broken one is an error that says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")  # no format that runs another program


class UnusableImageError(ValueError):
    """A picture that is not taken; the message says why in a few words."""


@contextmanager
def opened_image(file: Path | BytesIO) -> Iterator[Image.Image]:
    """An image of one of `FORMATS`; its pixels are to be decoded within the `with`.

    Raises:
        UnusableImageError: whatever opening or decoding it stumbles over.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            yield image
    except UnusableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnusableImageError(f"does not decode (none of {', '.join(FORMATS)})") from error
    except Exception as error:  # a broken file makes Pillow's readers stumble in any way
        reason = str(error).splitlines()[0] if str(error) else ""
        raise UnusableImageError(f"does not decode ({type(error).__name__}: {reason})") from error
