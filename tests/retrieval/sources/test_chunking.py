from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixsearch.retrieval.sources.chunking import chunk_text

WORDS = st.sampled_from(
    ["a", "Bee", "end.", "Why?", "J.", "Dr.", "3.14", "(so.)", "ünïcode", "x" * 40]
)
SPACES = st.sampled_from([" ", "  ", "\n", "\n\n", "\t", " \u00a0"])


@st.composite
def texts(draw) -> str:
    pairs = draw(st.lists(st.tuples(WORDS, SPACES), max_size=80))
    return draw(st.sampled_from(["", " ", "\n"])) + "".join(word + space for word, space in pairs)


@st.composite
def sizes(draw) -> tuple[int, int]:
    words = draw(st.integers(1, 30))
    return words, draw(st.integers(0, (words + 1) // 2 - 1))


@settings(max_examples=80, deadline=None)
@given(texts(), sizes())
def test_nothing_is_lost_and_the_overlap_is_exact(text, size):
    words, overlap = size
    chunks = chunk_text(text, words=words, overlap=overlap)
    position = 0
    for chunk in chunks:
        position = text.index(chunk, position)  # a stretch of the text, none before the last
        assert chunk == chunk.strip()
    cut = [chunk.split() for chunk in chunks]
    assert all(1 <= len(chunk) <= words for chunk in cut)
    for before, after in pairwise(cut):
        assert overlap == 0 or before[-overlap:] == after[:overlap]
        assert len(after) > overlap
    repeated = [overlap * (number > 0) for number in range(len(cut))]
    joined = [word for skip, chunk in zip(repeated, cut, strict=True) for word in chunk[skip:]]
    assert joined == text.split()


def test_a_short_text_is_one_chunk():
    assert chunk_text(" One two.\nThree. ", words=3) == ["One two.\nThree."]
    assert chunk_text(" \n", words=3) == []


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One two three four. Five six seven", "One two three four."),
        ("One two three four five six seven", "One two three four five six"),  # no sentence ends
        ("One two. Three four five six seven", "One two. Three four five six"),  # nor in its half
        ("One two three\nfour five six seven", "One two three"),
        ("He met with Dr. Who in 1963 again", "He met with Dr. Who in"),
        ("In the old U.S. Army they all sang", "In the old U.S. Army they"),
        ("So it is 3.5 metres or so wide", "So it is 3.5 metres or"),
        ('She said "Go away!" (Twice.) Then she', 'She said "Go away!" (Twice.)'),
        ("They sell all sorts etc. and more of it", "They sell all sorts etc. and"),
    ],
)
def test_a_chunk_ends_with_a_sentence(text, first):
    assert chunk_text(text, words=6)[0] == first
