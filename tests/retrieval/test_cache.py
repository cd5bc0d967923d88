"""A result cache gives each query its own result, whatever else is asked, from any thread."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pixsearch.config import RegionCrop
from pixsearch.queries import Passage, Query
from pixsearch.retrieval.cache import CacheCounts, ResultCache, result_key

CROP = RegionCrop.masked_crop


def found_by(queries):
    """A passage that names the query."""
    return [[Passage(id=str(query.text), title="", text="")] for query in queries]


def ask(cache, *texts, k=1, find=found_by):
    found = cache.search([Query.of_text(text) for text in texts], k, CROP, find)
    return [passages[0].id for passages in found]


def picture(colour, size=(3, 2)):
    return Image.new("RGB", size, colour)


def square(*, filled):
    return np.full((2, 3), filled)


DIFFERENT = {
    "words": Query.of_text("red"),
    "other words": Query.of_text("Red"),
    "an image": Query.of_image(picture("red")),
    "with a question": Query.of_image(picture("red"), question="who?"),
    "other pixels": Query.of_image(picture((255, 0, 1))),
    "another shape": Query.of_image(picture("red", (2, 3))),
    "another mode": Query.of_image(Image.new("L", (3, 2), 0)),
    "a palette": Query.of_image(picture("red").convert("P")),
    "another palette": Query.of_image(picture("blue").convert("P")),
    "a region": Query.of_region(picture("red"), square(filled=True)),
    "another mask": Query.of_region(picture("red"), square(filled=False)),
}


def test_different_queries_have_different_keys():
    keys = [result_key(query, 5, CROP, index="a") for query in DIFFERENT.values()]
    assert len(set(keys)) == len(DIFFERENT)


def test_k_crop_and_index_are_in_the_key():
    query = DIFFERENT["a region"]
    first = result_key(query, 5, CROP, index="a")
    assert first == result_key(query, 5, CROP, index="a")
    others = [(4, CROP, "a"), (5, RegionCrop.masked_fill, "a"), (5, CROP, "b")]
    assert first not in [result_key(query, k, crop, index=index) for k, crop, index in others]


def test_the_same_pixels_are_the_same_query():
    one, other = Query.of_image(picture("red")), Query.of_image(picture("red").copy())
    assert result_key(one, 5, CROP, index="a") == result_key(other, 5, CROP, index="a")


def test_a_query_is_searched_for_once():
    searched = []

    def find(queries):
        searched.extend(query.text for query in queries)
        return found_by(queries)

    cache = ResultCache(10, index="a")
    assert ask(cache, "x", "y", "x", find=find) == ["x", "y", "x"]
    assert ask(cache, "y", "z", find=find) == ["y", "z"]
    assert searched == ["x", "y", "z"]
    assert cache.counts() == CacheCounts(hits=1, misses=4, evictions=0, entries=3)


def test_it_is_bounded_and_the_least_recently_asked_goes_first():
    cache = ResultCache(2, index="a")
    for text in ("x", "y", "x", "z"):
        ask(cache, text)
    assert cache.counts() == CacheCounts(hits=1, misses=3, evictions=1, entries=2)
    ask(cache, "x", "z")
    assert cache.counts().hits == 3
    ask(cache, "y")
    assert cache.counts().misses == 4


def test_more_queries_at_once_than_it_holds():
    texts = [str(number) for number in range(7)]
    cache = ResultCache(2, index="a")
    assert ask(cache, *texts) == texts
    assert cache.counts().entries == 2


def test_what_failed_is_not_kept():
    cache = ResultCache(2, index="a")
    with pytest.raises(ZeroDivisionError):
        ask(cache, "x", find=lambda queries: 1 / 0)
    assert ask(cache, "x") == ["x"]


def test_a_caller_may_change_the_list_that_it_got():
    cache = ResultCache(2, index="a")
    cache.search([Query.of_text("x")], 1, CROP, found_by)[0].clear()
    assert ask(cache, "x") == ["x"]


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=5), max_size=12), st.integers(1, 4))
def test_whatever_is_asked_each_query_has_its_own_result(batches, entries):
    cache = ResultCache(entries, index="a")
    for batch in batches:
        assert ask(cache, *batch) == batch
        assert cache.counts().entries <= entries


def test_from_many_threads():
    cache, barrier = ResultCache(5, index="a"), threading.Barrier(8)

    def work(seed):
        generator = np.random.default_rng(seed)
        barrier.wait()
        for _ in range(100):
            texts = [str(number) for number in generator.integers(12, size=3)]
            if ask(cache, *texts) != texts:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    counts = cache.counts()
    assert (counts.hits + counts.misses, counts.entries) == (2400, 5)
