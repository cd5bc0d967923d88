import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixsearch.config import RegionCrop, RetrievalOptions
from pixsearch.retrieval.crops import MEAN_COLOUR, region_image, region_views

WIDTH, HEIGHT = 60, 40


VIEWED = [crop for crop in RegionCrop if crop is not RegionCrop.mask_pooled]
SINGLE = [crop for crop in VIEWED if crop is not RegionCrop.multi_scale]


def numbered(width, height):
    """Every pixel is different: red is its column, green its row."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    return Image.fromarray(pixels)


@pytest.fixture
def image():
    return numbered(WIDTH, HEIGHT)


def box_mask(left, top, right, bottom):
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def test_masked_crop_keeps_the_mask_and_fills_the_rest(image):
    mask = box_mask(10, 5, 30, 15)
    mask[5, 10] = False
    crop = np.asarray(region_image(image, mask))
    assert crop.shape == (20, 20, 3)  # a square of the longer side, the box in its middle
    np.testing.assert_array_equal(crop[5, 0], MEAN_COLOUR)  # inside the box, outside the mask
    np.testing.assert_array_equal(crop[:5], np.broadcast_to(MEAN_COLOUR, (5, 20, 3)))
    np.testing.assert_array_equal(crop[6:15], np.asarray(image)[6:15, 10:30])


def test_padded_box_replaces_nothing_and_adds_a_margin(image):
    crop = region_image(image, box_mask(20, 10, 40, 30), crop=RegionCrop.padded_box, margin=0.25)
    np.testing.assert_array_equal(crop, np.asarray(image)[5:35, 15:45])


def test_padded_box_stops_at_the_border(image):
    crop = region_image(image, box_mask(0, 0, 20, 20), crop=RegionCrop.padded_box, margin=0.5)
    np.testing.assert_array_equal(crop, np.asarray(image)[0:30, 0:30])


def test_blurred_surround_keeps_the_mask_and_blurs_the_rest():
    """A checkerboard turns to grey but for the region, however near to its rim."""
    board = (np.indices((HEIGHT, WIDTH)).sum(axis=0) % 2 * 255).astype(np.uint8)
    board = np.stack([board] * 3, axis=-1)
    options = {"crop": RegionCrop.blurred_surround, "margin": 0.5}
    crop = np.asarray(region_image(Image.fromarray(board), box_mask(20, 10, 40, 30), **options))
    assert crop.shape == (40, 40, 3)
    np.testing.assert_array_equal(crop[10:30, 10:30], board[10:30, 20:40])
    outside = np.ones((40, 40), dtype=bool)
    outside[10:30, 10:30] = False
    assert abs(crop[outside].astype(int) - 127).max() <= 16  # 12 in the corners
    sharp = region_image(Image.fromarray(board), box_mask(20, 10, 40, 30), blur=0.0, **options)
    np.testing.assert_array_equal(sharp, board[0:40, 10:50])


def test_multi_scale_has_boxes_that_grow(image):
    options = RetrievalOptions(region_scales=[1.0, 2.0, 100.0])
    mask = box_mask(20, 15, 30, 25)
    views = region_views(image, mask, crop=RegionCrop.multi_scale, options=options)
    np.testing.assert_array_equal(views[0], np.asarray(image)[15:25, 20:30])
    np.testing.assert_array_equal(views[1], np.asarray(image)[10:30, 15:35])
    np.testing.assert_array_equal(np.asarray(views[2])[10:50], image)  # no larger than the image


@given(st.data(), st.integers(1, 90), st.integers(1, 90), st.sampled_from(VIEWED))
@settings(max_examples=100, deadline=None)
def test_no_pixel_of_a_region_is_cut(data, width, height, crop):
    """Whatever the shapes: all its pixels stand in a square of 8 pixels or more."""
    mask = np.zeros((height, width), dtype=bool)
    for _ in range(data.draw(st.integers(1, 3))):
        left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        right, bottom = data.draw(st.integers(left, width)), data.draw(st.integers(top, height))
        mask[top : bottom + 1, left : right + 1] = True
    image = numbered(width, height)
    region = {tuple(pixel) for pixel in np.asarray(image)[mask].tolist()}
    for view in region_views(image, mask, crop=crop, options=RetrievalOptions()):
        assert view.width == view.height >= 8
        assert view.mode == "RGB"
        assert region <= {tuple(pixel) for pixel in np.asarray(view).reshape(-1, 3).tolist()}


@pytest.mark.parametrize("crop", VIEWED)
def test_the_colour_of_padding_and_filling(image, crop):
    colour, options = (1, 200, 3), RetrievalOptions()
    mask = box_mask(0, 10, 60, 20)
    mask[12, 30] = False
    views = region_views(image, mask, crop=crop, options=options, colour=colour)
    for view in views:
        assert view.getpixel((0, 0)) == colour
        assert MEAN_COLOUR not in {tuple(pixel) for pixel in np.asarray(view).reshape(-1, 3)}


def test_masked_fill_keeps_the_whole_frame(image):
    mask = box_mask(50, 30, 60, 40)
    crop = np.asarray(region_image(image, mask, crop=RegionCrop.masked_fill))
    assert crop.shape == (WIDTH, WIDTH, 3)
    framed = crop[10:50]  # 20 rows of padding, half above
    np.testing.assert_array_equal(framed[mask], np.asarray(image)[mask])
    assert (framed[~mask] == MEAN_COLOUR).all()


@pytest.mark.parametrize(("left", "top"), [(0, 0), (59, 0), (0, 39), (59, 39), (30, 20), (2, 38)])
@pytest.mark.parametrize("crop", [crop for crop in SINGLE if crop is not RegionCrop.masked_fill])
def test_one_pixel_is_widened_inside_the_image(image, left, top, crop):
    found = np.asarray(region_image(image, box_mask(left, top, left + 1, top + 1), crop=crop))
    assert found.shape == (8, 8, 3)
    assert (found == [left, top, 0]).all(axis=-1).sum() == 1
    if crop is not RegionCrop.masked_crop:  # all eight by eight pixels come from the image
        assert (found[..., 2] == 0).all()


def test_image_smaller_than_the_least_side(image):
    small = image.crop((0, 0, 5, 3))
    for crop in SINGLE:
        view = region_image(small, np.ones((3, 5), dtype=bool), crop=crop)
        assert view.size == (8, 8)
        np.testing.assert_array_equal(np.asarray(view)[2:5, 1:6], small)


@pytest.mark.parametrize("crop", SINGLE)
def test_grey_image(image, crop):
    view = region_image(image.convert("L"), box_mask(1, 1, 20, 20), crop=crop)
    assert view.mode == "RGB"


def test_empty_mask_is_an_error(image):
    with pytest.raises(ValueError, match="empty mask"):
        region_image(image, np.zeros((HEIGHT, WIDTH), dtype=bool))


def test_mask_of_another_size_is_an_error(image):
    with pytest.raises(ValueError, match="the mask is 60x40, its image 40x60"):
        region_image(image, np.ones((WIDTH, HEIGHT), dtype=bool))
