"""Masks as COCO's run lengths. Pure Python and numpy: what comes from outside reaches no C code."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

FIRST_CHARACTER = 48  # "0": each character of the string form stands for six bits above it
MOST_DIGITS = 13  # of a number in the string form: 5 bits each, 64 in all


def encode_mask(mask: Bool[np.ndarray, "height width"]) -> dict[str, Any]:
    """A mask's uncompressed RLE: lengths of runs down the columns, the first of them of False.

    >>> encode_mask(np.array([[False, True, True], [True, True, False]]))
    {'size': [2, 3], 'counts': [1, 4, 1]}
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts_true = [0] if flat.size and flat[0] else []
    edges = np.concatenate([starts_true, changes, [flat.size]]).astype(np.int64)
    return {"size": list(mask.shape), "counts": np.diff(edges, prepend=0).tolist()}


def decode_mask(
    size: Sequence[int], counts: Sequence[int] | str
) -> Bool[np.ndarray, "height width"]:
    """The mask of an RLE, its counts as a list or in COCO's compressed string.

    >>> decode_mask([2, 3], "141").astype(int)
    array([[0, 1, 1],
           [1, 1, 0]])

    Raises:
        ValueError: the counts are none, or cover another number of pixels than `size` has.
    """
    height, width = size
    numbers = _numbers(counts) if isinstance(counts, str) else list(counts)
    covered = sum(numbers)
    if min(numbers, default=0) < 0 or covered != height * width:
        raise ValueError(f"the RLE covers {covered} pixels, its size {height}x{width} has others")
    runs: Int64[np.ndarray, " runs"] = np.array(numbers, dtype=np.int64)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _numbers(text: str) -> list[int]:
    """Of the string form: each number in groups of five bits, lowest first, the sixth bit set on
    all but the last group; from the fourth number on the difference to the one two before."""
    numbers: list[int] = []
    digits: list[int] = []
    for character in text:
        code = ord(character) - FIRST_CHARACTER
        if not 0 <= code < 64 or len(digits) == MOST_DIGITS:
            raise ValueError("the string of the RLE's counts is not COCO's")
        digits.append(code & 31)
        if not code & 32:
            numbers.append(_signed(digits) + (numbers[-2] if len(numbers) > 2 else 0))
            digits = []
    if digits:
        raise ValueError("the string of the RLE's counts ends in the middle of a number")
    return numbers


def _signed(digits: list[int]) -> int:
    """The number in two's complement whose groups of five bits these are, lowest first."""
    value = sum(digit << (5 * place) for place, digit in enumerate(digits))
    return value - (1 << 5 * len(digits)) if digits[-1] & 16 else value
