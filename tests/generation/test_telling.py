"""Text that is told as it grows, and images that are kept for the next request."""

import pytest

from pixsearch.generation.features import RecentFeatures
from pixsearch.generation.telling import GrowingText
from pixsearch.model import PixSearch
from tests.generation.scripted import picture


def decode(ids: list[int]) -> str:
    """Of ids that are bytes."""
    return bytes(ids).decode(errors="replace")


@pytest.mark.parametrize("text", ["é", "a cup €", "ab\ufffd"])
def test_all_that_was_said_is_told_in_the_end(text: str) -> None:
    for given in (text.encode(), text.encode()[:-1]):  # a whole character last, or a part of one
        growing = GrowingText(decode)
        told = "".join(growing.add(byte) for byte in given)
        assert told + growing.rest() == decode(list(given))


def test_the_image_used_longest_ago_goes_first(model: PixSearch) -> None:
    features = model.encode_image([picture()])
    recent = RecentFeatures(2)
    recent["a"] = recent["b"] = features
    assert recent.get("a") is features
    assert recent.get("c") is None
    recent["c"] = features
    assert list(recent) == ["a", "c"]
