"""Turns the bytes of a picture from the network into a file that a knowledge base can trust."""

from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageOps

from pixsearch.retrieval.image_decoding import UnusableImageError, opened_image

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # of 8 bits at most
ORIENTATION = 0x0112  # EXIF
UPRIGHT = 1
BACKGROUND = (255, 255, 255)  # pages are white: black glyphs on transparency would turn black
QUALITY = 95


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """A JPEG file.

    Attributes:
        width, height: in pixels.
    """

    data: bytes
    width: int
    height: int


def image_file(data: bytes, *, max_pixels: float, max_side: int | None) -> ImageFile:
    """The picture in `data` as an upright RGB or grey JPEG; all of it is decoded.

    A JPEG that is so already keeps its bytes. Transparency becomes white, of an animation the
    first picture is taken.

    Args:
        max_pixels: height times width that is decoded at most, told from the file's header.
        max_side: a larger picture is scaled down to it, in pixels; None: never.

    Raises:
        UnusableImageError: it does not decode or is too large.
    """
    with opened_image(BytesIO(data)) as image:
        _refuse_size(image, max_pixels)
        return _encoded(image, data, max_side)


def _refuse_size(image: Image.Image, max_pixels: float) -> None:
    if image.width * image.height > max_pixels:
        raise UnusableImageError(f"{image.width}x{image.height} pixels are too many")


def _encoded(image: Image.Image, data: bytes, max_side: int | None) -> ImageFile:
    is_large = max_side is not None and max(image.size) > max_side
    if is_large:
        image.draft(None, (max_side, max_side))  # a JPEG is decoded at a half, quarter or eighth
    image.load()
    is_upright = image.getexif().get(ORIENTATION, UPRIGHT) == UPRIGHT
    if image.format == "JPEG" and image.mode in ("RGB", "L") and is_upright and not is_large:
        return ImageFile(data=data, width=image.width, height=image.height)
    if image.mode not in MODES:
        raise UnusableImageError(f"pixels of mode {image.mode} are not of 8 bits")
    flat = _flattened(ImageOps.exif_transpose(image))
    if is_large:
        flat.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    packed = BytesIO()
    flat.save(packed, "JPEG", quality=QUALITY)
    return ImageFile(data=packed.getvalue(), width=flat.width, height=flat.height)


def _flattened(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    page = Image.new("RGBA", image.size, (*BACKGROUND, 255))
    return Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")
