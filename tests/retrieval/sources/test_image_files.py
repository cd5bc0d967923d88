from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixsearch.retrieval.image_decoding import UnusableImageError
from pixsearch.retrieval.sources.image_files import ImageFile, image_file
from tests.retrieval.sources.image_server import picture

LIMITS = {"max_pixels": 1e6, "max_side": 64}


def packed(image: Image.Image, format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pixels(file: ImageFile) -> np.ndarray:
    with Image.open(BytesIO(file.data)) as image:
        assert (image.format, image.size) == ("JPEG", (file.width, file.height))
        return np.asarray(image.convert("RGB")).astype(int)


def test_a_small_jpeg_keeps_its_bytes():
    data = picture(1)
    assert image_file(data, **LIMITS) == ImageFile(data=data, width=24, height=24)


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_other_formats_become_jpeg(format):
    solid = Image.new("RGB", (20, 10), (200, 40, 90))
    found = image_file(packed(solid, format), **LIMITS)
    assert (found.width, found.height) == (20, 10)
    assert np.abs(pixels(found) - (200, 40, 90)).max() < 8


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_large_image_is_scaled_down(format):
    image = Image.new("RGB", (900, 300), (10, 200, 30))
    found = image_file(packed(image, format), **LIMITS)
    assert (found.width, found.height) == (64, 21)
    assert np.abs(pixels(found) - (10, 200, 30)).max() < 8
    whole = image_file(packed(image, format), max_pixels=1e6, max_side=None)
    assert (whole.width, whole.height) == (900, 300)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_black_glyphs_on_transparency_do_not_turn_black(mode):
    """Dropping the alpha channel would leave an image that is black all over."""
    logo = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    logo.paste((0, 0, 0, 255), (5, 5, 10, 10))
    seen = pixels(image_file(packed(logo.convert(mode), "PNG"), **LIMITS))
    assert seen[15:].min() > 240
    assert seen[7, 7].max() < 20


def test_a_photo_is_stored_upright():
    image = Image.new("RGB", (40, 20), (255, 255, 255))
    image.paste((200, 0, 0), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    seen = pixels(image_file(packed(image, "JPEG", exif=exif, quality=95), **LIMITS))
    assert seen.shape == (40, 20, 3)
    assert seen[5, 10, 1] < 60 < 200 < seen[35, 10, 1]


def talkative() -> bytes:
    """A good picture with more text in its file than Pillow reads."""
    words = PngInfo()
    words.add_text("Comment", "x" * (2 << 20), zip=True)
    return packed(Image.new("L", (8, 8)), "PNG", pnginfo=words)


def bomb() -> bytes:
    """A small file that says it has a thousand million pixels."""
    data = bytearray(packed(Image.new("L", (8, 8)), "BMP"))
    data[18:26] = (30_000).to_bytes(4, "little") + (40_000).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "does not decode"),
        (b"<html>not found</html>", "does not decode"),
        (picture(1, side=64)[:3000], "does not decode"),
        (packed(Image.new("L", (1001, 1000)), "PNG"), "1001x1000 pixels are too many"),
        (packed(Image.fromarray(np.full((4, 4), 9000, np.uint16)), "PNG"), "mode I;16"),
        (bomb(), "DecompressionBomb"),
        (talkative(), "ValueError: Decompressed data too large"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "does not decode .none of JPEG, PNG",
        ),
    ],
)
def test_what_is_not_taken(data, reason):
    with pytest.raises(UnusableImageError, match=reason) as caught:
        image_file(data, **LIMITS)
    assert "\n" not in str(caught.value)
