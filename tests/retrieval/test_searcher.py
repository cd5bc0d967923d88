from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixsearch.config import FusionOptions, RegionCrop, RerankerOptions, TextSearch
from pixsearch.queries import Query
from pixsearch.retrieval.build import build_indexes
from pixsearch.retrieval.crops import MEAN_COLOUR
from pixsearch.retrieval.opening import open_searcher
from pixsearch.retrieval.searcher import Searcher
from tests.retrieval.conftest import SIDE, draw_thing, things, write_corpus


@pytest.fixture(scope="module")
def searcher(built):
    return Searcher.open(built)


def scene_with(number, left, top):
    """Thing `number` in a busy scene, and its mask."""
    _, colour, shape = things()[number]
    noise = np.random.default_rng(number).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    scene = Image.fromarray(noise)
    drawn = draw_thing(colour, shape, MEAN_COLOUR)
    inside = (np.asarray(drawn) != MEAN_COLOUR).any(axis=-1)
    mask = np.zeros((96, 128), dtype=bool)
    mask[top : top + SIDE, left : left + SIDE] = inside
    scene.paste(drawn, (left, top), Image.fromarray(inside))
    return scene, mask


def text_queries():
    return [Query.of_text(f"when was the {name} first made?") for name, _, _ in things()]


def image_queries():
    return [Query.of_image(draw_thing(*thing[1:], (66, 66, 66))) for thing in things()]


def region_queries():
    return [
        Query.of_region(*scene_with(number, 96 - 8 * number, 5 * number)) for number in range(12)
    ]


@pytest.mark.parametrize("queries", [text_queries, image_queries, region_queries])
def test_every_document_is_found_first(queries, searcher):
    found = searcher.search(queries(), k=3)
    assert [passages[0].id for passages in found] == [f"e{number}" for number in range(12)]
    for passages in found:
        scores = [passage.score for passage in passages]
        assert len({passage.id for passage in passages}) == 3  # two images of one fold into one
        assert scores == sorted(scores, reverse=True)
        assert all(passage.text.startswith("The ") for passage in passages)


def test_mixed_batch_keeps_the_order_and_equals_single_searches(searcher):
    queries = [
        query
        for trio in zip(region_queries(), text_queries(), image_queries(), strict=True)
        for query in trio
    ]
    together = searcher.search(queries)
    alone = [searcher.search([query])[0] for query in queries]
    assert [[p.id for p in found] for found in together] == [
        [p.id for p in found] for found in alone
    ]
    assert all(len(found) == 5 for found in together)


def test_images_and_regions_are_encoded_in_one_call(searcher, monkeypatch):
    calls = []
    index = searcher._image_index
    monkeypatch.setattr(
        searcher,
        "_image_index",
        replace(index, encode=lambda images: calls.append(len(images)) or index.encode(images)),
    )
    searcher.search([*image_queries(), *text_queries(), *region_queries()])
    assert calls == [24]


def test_region_crops_differ(searcher):
    query = region_queries()[4]
    crops = [crop for crop in RegionCrop if crop is not RegionCrop.mask_pooled]
    scores = [searcher.search([query], k=1, region_crop=crop)[0][0].score for crop in crops]
    assert len(set(scores)) == len(crops)
    with pytest.raises(ValueError, match=r"image_encoder\.name=open_clip has no patches"):
        searcher.search([query], region_crop=RegionCrop.mask_pooled)


def test_no_queries_and_queries_without_words(searcher):
    assert searcher.search([]) == []
    assert (
        searcher.search([Query.of_text(""), Query.of_text(" \n"), Query.of_text("?")]) == [[]] * 3
    )


def test_k(searcher):
    assert len(searcher.search(text_queries()[:1], k=100)[0]) == 12
    with pytest.raises(ValueError, match="k=0"):
        searcher.search(text_queries(), k=0)


def test_empty_mask_is_an_error(searcher):
    scene, mask = scene_with(0, 0, 0)
    with pytest.raises(ValueError, match="empty mask"):
        searcher.search([Query.of_region(scene, np.zeros_like(mask))])


def test_prefix_is_put_before_every_query(own, searcher):
    """A prefix that is a document's name pulls towards that document."""
    options = replace(own, text_encoder=replace(own.text_encoder, prefix="Umbelloq Umbelloq "))
    build_indexes(options, progress=False)
    assert Searcher.open(options).search([Query.of_text("disc")])[0][0].id == "e11"


def test_knowledge_base_without_images(own):
    write_corpus(Path(own.knowledge_base), [{"id": "a", "contents": "a red disc"}])
    build_indexes(own, progress=False)
    searcher = Searcher.open(own)
    assert searcher.search([Query.of_text("disc")])[0][0].id == "a"
    with pytest.raises(ValueError, match=r"has no images to compare with: set policy\.allow"):
        searcher.search(image_queries())


def test_bm25_stems_both_sides(own):
    options = replace(own, text_search=TextSearch.bm25)
    manifests = build_indexes(options, progress=False)
    assert list(manifests) == ["bm25", "image"]
    searcher = Searcher.open(options)
    found = searcher.search([*text_queries(), Query.of_text("paints"), Query.of_text("the xyzzy")])
    assert [passages[0].id for passages in found[:12]] == [f"e{number}" for number in range(12)]
    assert [passage.id for passage in found[12]] == ["e0", "e1", "e2", "e3", "e4"]  # all tie
    assert found[13] == []  # a document that shares no word is no evidence
    assert searcher.search(region_queries()[:1])[0][0].id == "e0"


def test_hybrid_finds_what_words_or_vectors_find(own):
    options = replace(own, text_search=TextSearch.hybrid)
    assert list(build_indexes(options, progress=False)) == ["bm25", "text", "image"]
    searcher = Searcher.open(options)
    found = searcher.search([*text_queries(), Query.of_text("Vexlinn"), Query.of_text("")])
    assert [passages[0].id for passages in found[:12]] == [f"e{number}" for number in range(12)]
    assert found[12][0].id == "e0"  # misspelt: no word is shared, n-grams are
    assert found[13] == []
    assert found[0][0].score == pytest.approx(2 / 61, abs=1e-6)  # first in both
    assert set(searcher.info().manifests) == {"bm25", "text", "image"}


def test_a_question_beside_an_image_counts_only_if_it_is_fused(own, searcher):
    """The picture of e0, a question about e7: both stand first in one of the rankings."""
    query = Query.of_image(draw_thing(*things()[0][1:], (66, 66, 66)), question="the Ilmarin?")
    assert searcher.search([query])[0][1].id != "e7"
    fusion = FusionOptions(candidates=2)
    fusing = Searcher.open(replace(own, fuse_question=True, fusion=fusion))
    found = fusing.search([query, *image_queries()], k=2)
    assert {passage.id for passage in found[0]} == {"e0", "e7"}
    assert [passages[0].id for passages in found[1:]] == [f"e{number}" for number in range(12)]
    region, mask = scene_with(0, 0, 0)
    found = fusing.search([Query.of_region(region, mask, question="the Ilmarin?")], k=2)
    assert {passage.id for passage in found[0]} == {"e0", "e7"}


class Backwards:
    """Puts passages in the opposite order."""

    fingerprint = "backwards"

    def scores(self, query, passages):
        return -np.arange(float(len(passages)))

    def rerank(self, queries, found, k):
        return [list(reversed(passages))[:k] for passages in found]


def test_text_queries_are_reranked_from_the_candidates(own, searcher):
    options = replace(own, reranker=RerankerOptions(candidates=7))
    parts = (searcher.knowledge_base, searcher._text_index, searcher._image_index, options)
    reranking = Searcher(*parts, reranker=Backwards())
    queries = [text_queries()[0], image_queries()[0], Query.of_text("")]
    by_text, by_image, nothing = reranking.search(queries, k=2)
    first_seven = searcher.search(queries[:1], k=7)[0]
    assert [one.id for one in by_text] == [one.id for one in first_seven[::-1][:2]]
    assert [one.id for one in by_image] == [one.id for one in searcher.search(queries[1:2], k=2)[0]]
    assert nothing == []
    assert reranking.info() != searcher.info()


def test_results_are_cached_and_are_those_of_a_search(own, searcher):
    cached = open_searcher(replace(own, cache_entries=100))
    queries = [*text_queries(), *image_queries(), *region_queries()]
    for crop in (RegionCrop.masked_crop, RegionCrop.padded_box):
        expected = searcher.search(queries, k=3, region_crop=crop)
        for _ in range(2):
            assert cached.search(queries, k=3, region_crop=crop) == expected
    assert cached.cache.counts().hits == 72
    with pytest.raises(ValueError, match="empty mask"):
        cached.search([Query.of_region(queries[12].image, np.zeros((SIDE, SIDE), dtype=bool))])


@pytest.mark.parametrize("factory", ["Flat", "HNSW8,SQ8", "IVF2,SQ8"])
def test_memory_mapped_vectors_find_the_same(factory, own):
    options = replace(own, factory=factory)
    build_indexes(options, progress=False)
    queries = [
        Query.of_text("a disc painted red"),
        Query.of_image(draw_thing("gold", "cross", (1, 2, 3))),
    ]
    expected = Searcher.open(options).search(queries, k=3)
    assert Searcher.open(replace(options, memory_map=True)).search(queries, k=3) == expected


def test_other_search_parameters_are_measured_or_told(own, caplog):
    options = replace(own, factory="IVF4,Flat", search_parameters="nprobe=1")
    assert build_indexes(options, progress=False)["text"].search_parameters == "nprobe=1"
    wide = replace(options, search_parameters="nprobe=4")
    few, many = (
        Searcher.open(each).search([Query.of_text("red")], k=12)[0] for each in (options, wide)
    )
    assert len(few) < len(many) == 12
    assert "recall was measured with other search_parameters" in caplog.text
    assert build_indexes(wide, progress=False)["text"].recall_at_10 == 1.0
