from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPImageProcessorPil, Sam2ImageProcessor, SamImageProcessor

from pixsearch.config import ImageFit
from pixsearch.images import SegmenterFrame, fit_square, pixels

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def picture(width: int, height: int) -> Image.Image:
    across = np.linspace(0, 255, width)[None, :, None]
    down = np.linspace(0, 255, height)[:, None, None]
    values = np.broadcast_to((across + down) / 2, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8))


def frame(size: int, resolution: int, **colours: Sequence[float]) -> SegmenterFrame:
    """SAM's."""
    return SegmenterFrame(size=size, resolution=resolution, keeps_ratio=True, **colours)


@pytest.mark.parametrize("fit", list(ImageFit))
@pytest.mark.parametrize("size", [(60, 40), (40, 60), (7, 7)])
def test_fit_square_is_a_square(fit: ImageFit, size: tuple[int, int]) -> None:
    assert fit_square(picture(*size).convert("L"), 32, fit, mean=MEAN).size == (32, 32)


def test_pad_shows_all_and_fills_with_the_mean() -> None:
    square = np.asarray(
        fit_square(Image.new("RGB", (40, 20), "white"), 40, ImageFit.pad, mean=MEAN)
    )
    assert (square[10:30] == 255).all()
    assert (square[0] == [int(value * 255) for value in MEAN]).all()


@pytest.mark.parametrize("size", [(64, 48), (48, 65), (33, 32), (97, 41)])
def test_crop_equals_that_of_clip(size: tuple[int, int]) -> None:
    image = picture(*size)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)
    theirs = processor(image, return_tensors="pt").pixel_values[0]
    ours = pixels(fit_square(image, 32, ImageFit.crop), MEAN, STD)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(7, 113), (500, 20), (33, 600)])
def test_the_square_of_an_elongated_image_is_that_of_clip(size: tuple[int, int]) -> None:
    image = Image.effect_noise(size, 80).convert("RGB")
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size=32, do_rescale=False, do_normalize=False
    )
    theirs = processor(image, return_tensors="pt").pixel_values[0]
    ours = pixels(fit_square(image, 32, ImageFit.crop), [0.0] * 3, [1.0] * 3) * 255
    assert (ours - theirs).abs().max() < 1.5  # rounding


def test_a_line_is_not_enlarged_before_it_is_cropped(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def keep(self: Image.Image, size: tuple[int, int], *how: object, **more: object) -> Image.Image:
        sizes.append(size)
        return resize(self, size, *how, **more)

    monkeypatch.setattr(Image.Image, "resize", keep)
    fit_square(Image.new("RGB", (1, 8000)), 336, ImageFit.crop)
    assert sizes == [(336, 8000), (336, 336)]


@pytest.mark.parametrize("size", [(500, 20), (20, 500), (1, 70)])
def test_the_padded_square_of_an_elongated_image_is_that_of_its_own_square(
    size: tuple[int, int],
) -> None:
    image, side = Image.effect_noise(size, 80).convert("RGB"), max(size)
    square = Image.new("RGB", (side, side), tuple(int(value * 255) for value in MEAN))
    square.paste(image, ((side - size[0]) // 2, (side - size[1]) // 2))
    theirs = np.asarray(square.resize((32, 32), Image.Resampling.BICUBIC)).astype(int)
    ours = np.asarray(fit_square(image, 32, ImageFit.pad, mean=MEAN)).astype(int)
    assert np.abs(ours - theirs).max() <= 1  # rounding


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1)])
def test_a_line_is_not_padded_to_a_square_of_its_length(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    sizes: list[tuple[int, int]] = []
    new = Image.new

    def keep(mode: str, size: tuple[int, int], *colour: object) -> Image.Image:
        sizes.append(size)
        return new(mode, size, *colour)

    line = Image.new("RGB", size)
    monkeypatch.setattr(Image, "new", keep)
    assert fit_square(line, 336, ImageFit.pad, mean=MEAN).size == (336, 336)
    assert all(width * height <= 336 * 60_000 for width, height in sizes)
    assert sizes


@pytest.mark.parametrize("size", [(60, 40), (33, 50), (20, 10)])
def test_segmenter_pixels_equal_those_of_sam(size: tuple[int, int]) -> None:
    processor = SamImageProcessor(size={"longest_edge": 32}, pad_size={"height": 32, "width": 32})
    theirs = processor(picture(*size), return_tensors="pt").pixel_values[0]
    ours = frame(32, 8, mean=processor.image_mean, std=processor.image_std).pixels(picture(*size))
    torch.testing.assert_close(ours, theirs, atol=0.03, rtol=0)


@pytest.mark.parametrize("size", [(60, 40), (33, 50)])
def test_segmenter_pixels_equal_those_of_sam2(size: tuple[int, int]) -> None:
    processor = Sam2ImageProcessor(size={"height": 32, "width": 32})
    theirs = processor(picture(*size), return_tensors="pt").pixel_values[0]
    ours = SegmenterFrame(
        size=32,
        resolution=8,
        keeps_ratio=False,
        mean=processor.image_mean,
        std=processor.image_std,
    ).pixels(picture(*size))
    torch.testing.assert_close(ours, theirs, atol=0.03, rtol=0)


def test_fitted_size_rounds_as_sam_does() -> None:
    fitted = frame(1024, 256).fitted
    assert fitted(1080, 1920) == (576, 1024)
    assert fitted(427, 640) == (683, 1024)
    assert fitted(1, 5000) == (1, 1024)


@settings(deadline=None, max_examples=40)
@given(st.integers(20, 90), st.integers(20, 90), st.data())
def test_masks_survive_the_way_there_and_back(height: int, width: int, data: st.DataObject) -> None:
    top = data.draw(st.integers(0, height // 2))
    left = data.draw(st.integers(0, width // 2))
    mask = np.zeros((1, height, width), dtype=bool)
    mask[0, top : top + height // 2, left : left + width // 2] = True
    low = frame(128, 64).targets(mask)
    back = frame(128, 64).to_image(low - 0.5, height=height, width=width)[0].numpy() > 0
    union = (back | mask[0]).sum()
    assert (back & mask[0]).sum() / union > 0.8


def test_targets_keep_the_area_of_small_objects() -> None:
    mask = np.zeros((1, 64, 64), dtype=bool)
    mask[0, 10, 10] = True
    low = frame(64, 16).targets(mask)
    assert low.sum().item() == pytest.approx(1 / 16)


def test_padding_is_no_part_of_a_mask() -> None:
    low = frame(64, 16).targets(np.ones((1, 32, 64), dtype=bool))
    assert (low[0, :8] == 1).all()
    assert (low[0, 8:] == 0).all()


def test_no_masks() -> None:
    none = np.zeros((0, 32, 64), dtype=bool)
    assert frame(64, 16).targets(none).shape == (0, 16, 16)
    assert frame(64, 16).to_image(torch.zeros(0, 16, 16), height=3, width=5).shape == (0, 3, 5)
