from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from pixsearch.retrieval.rle import decode_mask, encode_mask

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(MASKS)
def test_both_forms_are_cocos(mask):
    """Counts in a list go there and back; pycocotools' string gives the same mask."""
    rle = encode_mask(mask)
    np.testing.assert_array_equal(decode_mask(**rle), mask)
    compressed = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    np.testing.assert_array_equal(decode_mask(mask.shape, compressed["counts"].decode()), mask)
    assert coco_mask.frPyObjects(rle, *rle["size"])["counts"] == compressed["counts"]


def test_long_runs():
    """Numbers of several digits, rising and falling."""
    mask = np.zeros((700, 500), dtype=bool)
    mask[:, 100:103] = True
    mask[5, 400] = True
    counts = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
    np.testing.assert_array_equal(decode_mask(mask.shape, counts), mask)


BAD = {
    "too few pixels": [1, 4],
    "too many pixels": [1, 4, 1_000_000_000_000],
    "negative": [-1, 7],
    "none": [],
    "no string of COCO's": "14é",
    "below its alphabet": "1!",
    "cut": "1P",
    "endless number": "P" * 100_000,
    "negative in the string": "O1O",
    "empty string": "",
}


@pytest.mark.parametrize("counts", BAD.values(), ids=BAD)
def test_bad_counts_are_refused(counts):
    with pytest.raises(ValueError, match="RLE"):
        decode_mask([2, 3], counts)


@given(st.text(max_size=30))
def test_any_string_is_a_mask_or_refused(text):
    with suppress(ValueError):
        assert decode_mask([4, 5], text).shape == (4, 5)
