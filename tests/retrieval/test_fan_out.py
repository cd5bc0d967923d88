"""Several servers with a part of the documents each find what one index over all finds."""

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixsearch.config import ClientOptions, OnMissingServer, RetrievalOptions, TextSearch
from pixsearch.queries import Passage, Query, SearchFailed
from pixsearch.retrieval.build import build_indexes
from pixsearch.retrieval.client import RemoteSearcher
from pixsearch.retrieval.fan_out import FanOutSearcher, merge
from pixsearch.retrieval.opening import open_searcher
from pixsearch.retrieval.searcher import Searcher
from tests.retrieval.conftest import write_corpus
from tests.retrieval.scenes import mixed_queries
from tests.retrieval.serving import serving

QUICK = ClientOptions(retries=0, timeout_seconds=10.0)
AWAY = "http://127.0.0.1:1"


def part_of(options: RetrievalOptions, folder: Path, lines: list[str]) -> RetrievalOptions:
    """Indexes of some of the documents of a knowledge base, with its images."""
    (folder / "knowledge_base").mkdir(parents=True)
    (folder / "knowledge_base" / "corpus.jsonl").write_text("".join(lines))
    (folder / "knowledge_base" / "images").symlink_to(Path(options.knowledge_base) / "images")
    part = replace(
        options, knowledge_base=str(folder / "knowledge_base"), index=str(folder / "index")
    )
    build_indexes(part, progress=False)
    return part


def text_world(folder: Path, texts: dict[str, str], **changes: object) -> RetrievalOptions:
    """A knowledge base of these texts by their ids, with its index."""
    records = [{"id": id, "contents": text} for id, text in texts.items()]
    write_corpus(folder / "knowledge_base", records)
    options = RetrievalOptions(
        knowledge_base=str(folder / "knowledge_base"), index=str(folder / "index"), **changes
    )
    options.text_encoder.name, options.text_encoder.dimension = "hashed_ngrams", 128
    build_indexes(options, progress=False)
    return options


@contextmanager
def fan_out(*parts: RetrievalOptions) -> Iterator[FanOutSearcher]:
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(part)) for part in parts]
        yield stack.enter_context(FanOutSearcher(urls, QUICK))


@pytest.fixture(scope="module")
def halves(built, tmp_path_factory):
    """Every second document, and the others."""
    folder = tmp_path_factory.mktemp("halves")
    lines = (Path(built.knowledge_base) / "corpus.jsonl").read_text().splitlines(keepends=True)
    return [part_of(built, folder / str(first), lines[first::2]) for first in (0, 1)]


@pytest.fixture(scope="module")
def urls(halves):
    with serving(halves[0]) as first, serving(halves[1]) as second:
        yield [first, second]


@pytest.mark.parametrize("k", [1, 3, 5, 12, 20])
def test_equals_one_index_over_all(built, urls, k):
    queries = mixed_queries()
    with FanOutSearcher(urls, QUICK) as searcher:
        found = searcher.search(queries, k=k)
    everything = Searcher.open(built).search(queries, k=12)
    expected = [sorted(all, key=lambda one: (-one.score, one.id))[:k] for all in everything]
    assert found == expected


def test_equal_scores_come_by_id_whatever_a_server_leaves_out(tmp_path):
    """60 documents of the same words: each server alone would name the first of its rows."""
    generator = random.Random(0)
    ids = [f"d{number:02}" for number in range(60)]
    generator.shuffle(ids)
    texts = dict.fromkeys(ids, "the same words") | {"near": "the same words again"}
    parts = [dict(list(texts.items())[start::2]) for start in (0, 1)]
    with fan_out(*(text_world(tmp_path / str(len(p)), p) for p in parts)) as searcher:
        (found,) = searcher.search([Query.of_text("the same words")], k=4)
    assert [passage.id for passage in found] == ["d00", "d01", "d02", "d03"]


def test_no_more_is_asked_for_than_each_server_takes(built, halves):
    """The spare passages, by which ties are told, are left out rather than the search refused."""
    query = Query.of_text("Vexlin")
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(half, max_topk=5)) for half in halves]
        searcher = stack.enter_context(FanOutSearcher(urls, QUICK))
        searcher.info()
        (found,) = searcher.search([query], k=4)
        with pytest.raises(SearchFailed, match="6 are more than the 5"):
            searcher.search([query], k=6)
    (expected,) = Searcher.open(built).search([query], k=4)
    assert [one.score for one in found] == [one.score for one in expected]


def test_bm25_is_merged_by_score(tmp_path):
    words = [{"a": "cup red", "b": "lamp"}, {"c": "cup cup", "d": "cup of red tin", "e": "box"}]
    parts = [
        text_world(tmp_path / str(number), texts, text_search=TextSearch.bm25)
        for number, texts in enumerate(words)
    ]
    query = Query.of_text("red cup")
    with fan_out(*parts) as searcher:
        (found,) = searcher.search([query], k=3)
    all = [one for part in parts for one in Searcher.open(part).search([query], k=3)[0]]
    assert found == sorted(all, key=lambda one: (-one.score, one.id))[:3]
    assert {passage.id for passage in found} == {"a", "c", "d"}


PASSAGES = st.lists(
    st.builds(
        lambda number, score: Passage(id=f"p{number}", title="", text="", score=score / 4),
        st.integers(0, 10_000),
        st.integers(-4, 4),
    ),
    unique_by=lambda passage: passage.id,
    max_size=30,
)


@given(PASSAGES, st.integers(1, 4), st.integers(1, 8), st.randoms(use_true_random=False))
def test_a_merge_of_parts_is_the_head_of_the_whole(passages, num_parts, k, generator):
    whole = sorted(passages, key=lambda one: (-one.score, one.id))
    parts = [[] for _ in range(num_parts)]
    for passage in whole:
        generator.choice(parts).append(passage)
    assert merge([part[:k] for part in parts], k) == whole[:k]


def test_a_document_in_two_parts_occurs_once():
    one = Passage(id="a", title="A", text="words", score=0.5)
    assert merge([[one], [replace(one, score=0.7)]], 2) == [replace(one, score=0.7)]
    with pytest.raises(ValueError, match="different documents of the id 'a'"):
        merge([[one], [replace(one, text="other words")]], 2)


def test_a_missing_server_is_an_error(urls):
    with (
        FanOutSearcher([*urls, AWAY], QUICK) as searcher,
        pytest.raises(SearchFailed, match=rf"1 of 3 servers failed: {AWAY}: no answer") as caught,
    ):
        searcher.search([Query.of_text("Vexlin")])
    assert caught.value.is_temporary


def test_a_missing_server_may_be_skipped_and_is_counted(urls, caplog):
    options = replace(QUICK, on_missing_server=OnMissingServer.skip)
    with FanOutSearcher([*urls, AWAY], options) as searcher:
        assert searcher.search([Query.of_text("Vexlin")], k=1)[0][0].id == "e0"
        assert searcher.skipped == 1
    assert f"searched without 1 of 3 servers: {AWAY}" in caplog.text
    assert "1 searches lacked a server" in caplog.text
    with (
        FanOutSearcher([AWAY], options) as searcher,
        pytest.raises(SearchFailed, match="1 of 1 servers failed"),
    ):
        searcher.search([Query.of_text("Vexlin")])


@pytest.mark.parametrize("urls", [[], [AWAY, AWAY]])
def test_each_server_once(urls):
    with pytest.raises(ValueError, match="give each server's URL once"):
        FanOutSearcher(urls)


def test_info_is_that_of_all_parts_in_any_order(urls, halves):
    with FanOutSearcher(urls, QUICK) as searcher, FanOutSearcher(urls[::-1], QUICK) as other:
        info = searcher.info()
        assert info == other.info()
    assert (info.num_documents, len(info.manifests)) == (12, 4)
    hashes = {json.dumps(Searcher.open(half).info().corpus_sha256) for half in halves}
    assert len(hashes | {json.dumps(info.corpus_sha256)}) == 3


def test_parts_that_were_made_otherwise_are_refused(urls, tmp_path, built):
    (tmp_path / "other").mkdir()
    lines = (Path(built.knowledge_base) / "corpus.jsonl").read_text().splitlines(keepends=True)
    shorter = replace(built.text_encoder, dimension=64)
    other = part_of(replace(built, text_encoder=shorter), tmp_path / "part", lines[:3])
    with serving(other) as url, pytest.raises(ValueError, match="text: dimension"):
        open_searcher(replace(built, fan_out=[urls[0], url], client=QUICK))


@pytest.mark.parametrize("changes", [{"text_search": TextSearch.hybrid}, {"fuse_question": True}])
def test_ranks_in_parts_are_refused(tmp_path, changes):
    parts = [text_world(tmp_path / name, {name: "a disc"}, **changes) for name in "ab"]
    with (
        fan_out(*parts) as searcher,
        pytest.raises(ValueError, match=f"{next(iter(changes))}=.*ranks in parts") as caught,
    ):
        searcher.info()
    assert "\n" not in str(caught.value)


def test_a_server_over_servers(built, urls):
    """The front of several servers is one more server; generation knows no difference."""
    front = replace(built, fan_out=urls, client=QUICK)
    queries = mixed_queries()[:6]
    with serving(front) as url, RemoteSearcher(url, QUICK) as remote:
        found = remote.search(queries, k=2)
        assert remote.info().num_documents == 12
    expected = Searcher.open(built).search(queries, k=2)
    assert [[one.id for one in each] for each in found] == [
        [one.id for one in each] for each in expected
    ]
