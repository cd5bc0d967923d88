import numpy as np
import pytest
from PIL import Image

from pixsearch.config import RegionCrop
from pixsearch.retrieval.crops import MEAN_COLOUR, region_image

WIDTH, HEIGHT = 60, 40


@pytest.fixture
def image():
    """Every pixel is different: red is its column, green its row."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(WIDTH)
    pixels[..., 1] = np.arange(HEIGHT)[:, None]
    return Image.fromarray(pixels)


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


def test_masked_fill_keeps_the_whole_frame(image):
    mask = box_mask(50, 30, 60, 40)
    crop = np.asarray(region_image(image, mask, crop=RegionCrop.masked_fill))
    assert crop.shape == (WIDTH, WIDTH, 3)
    framed = crop[10:50]  # 20 rows of padding, half above
    np.testing.assert_array_equal(framed[mask], np.asarray(image)[mask])
    assert (framed[~mask] == MEAN_COLOUR).all()


@pytest.mark.parametrize(("left", "top"), [(0, 0), (59, 0), (0, 39), (59, 39), (30, 20), (2, 38)])
@pytest.mark.parametrize("crop", [RegionCrop.masked_crop, RegionCrop.padded_box])
def test_one_pixel_is_widened_inside_the_image(image, left, top, crop):
    found = np.asarray(region_image(image, box_mask(left, top, left + 1, top + 1), crop=crop))
    assert found.shape == (8, 8, 3)
    assert (found == [left, top, 0]).all(axis=-1).sum() == 1
    if crop is RegionCrop.padded_box:  # all eight by eight pixels come from the image
        assert (found[..., 2] == 0).all()


def test_image_smaller_than_the_least_side(image):
    small = image.crop((0, 0, 5, 3))
    assert region_image(small, np.ones((3, 5), dtype=bool)).size == (5, 5)


def test_grey_image(image):
    assert region_image(image.convert("L"), box_mask(1, 1, 20, 20)).mode == "RGB"


def test_empty_mask_is_an_error(image):
    with pytest.raises(ValueError, match="empty mask"):
        region_image(image, np.zeros((HEIGHT, WIDTH), dtype=bool))


def test_mask_of_another_size_is_an_error(image):
    with pytest.raises(ValueError, match="the mask is 60x40, its image 40x60"):
        region_image(image, np.ones((WIDTH, HEIGHT), dtype=bool))
