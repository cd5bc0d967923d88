import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from pixsearch.datasets.masks import decode_segmentation, encode_rle
from tests.datasets.builders import briefly

SIDES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=12)


@briefly
@given(mask=arrays.arrays(bool, SIDES))
def test_rle_round_trip(mask: np.ndarray) -> None:
    height, width = mask.shape
    decoded = decode_segmentation(encode_rle(mask), height=height, width=width)
    np.testing.assert_array_equal(decoded, mask)


@briefly
@given(masks=arrays.arrays(bool, (3, 6, 7)))
def test_several_segmentations_are_united(masks: np.ndarray) -> None:
    decoded = decode_segmentation(*map(encode_rle, masks), height=6, width=7)
    np.testing.assert_array_equal(decoded, masks.any(axis=0))


def test_nothing_to_decode_is_an_error() -> None:
    with pytest.raises(ValueError, match="no segmentation"):
        decode_segmentation(height=2, width=2)
