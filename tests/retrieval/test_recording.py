"""What was searched once is found again without an index."""

import json
import warnings
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest

from pixsearch.config import (
    ClientOptions,
    OnMissingServer,
    RegionCrop,
    RetrievalOptions,
    RetrievalSource,
)
from pixsearch.queries import Query, SearchFailed
from pixsearch.retrieval.info import SourceInfo
from pixsearch.retrieval.opening import close_searcher, open_searcher
from pixsearch.retrieval.recording import RecordingSearcher, ReplaySearcher
from tests.retrieval.scenes import mixed_queries

CROP = RegionCrop.masked_crop


@pytest.fixture
def recorded(built, tmp_path):
    """Options under which all the mixed queries were searched for, in two runs."""
    options = replace(built, recording=str(tmp_path / "recording" / "searches.jsonl"))
    queries = mixed_queries()
    for part in (queries[:3], queries):
        searcher = open_searcher(options)
        searcher.search(part, 3, region_crop=CROP)
        close_searcher(searcher)
    return options


def replayed(options):
    """The searcher of a machine that has the recording alone."""
    return open_searcher(
        replace(options, source=RetrievalSource.replay, knowledge_base="gone", index="gone")
    )


def test_a_replay_finds_what_the_index_found(built, recorded):
    """Equal to the last bit of the scores, in any order, and it says what was searched."""
    queries = mixed_queries()
    searcher = open_searcher(built)
    expected = searcher.search(queries, 3, region_crop=CROP)
    replay = replayed(recorded)
    assert isinstance(replay, ReplaySearcher)
    assert replay.search(queries, 3, region_crop=CROP) == expected
    assert replay.search(queries[::-1], 3, region_crop=CROP) == expected[::-1]
    assert replay.info().to_json() == json.loads(json.dumps(searcher.info().to_json()))


def test_each_search_is_written_once(recorded):
    lines = Path(recorded.recording).read_text().splitlines()
    assert len({json.loads(line)["key"] for line in lines}) == len(lines) <= len(mixed_queries())


def test_a_search_that_was_not_recorded_fails(recorded):
    replay = replayed(recorded)
    query = mixed_queries()[0]
    region = next(each for each in mixed_queries() if each.mask is not None)
    others = [
        (Query.of_text("never asked"), 3, CROP),
        (query, 4, CROP),
        (region, 3, RegionCrop.padded_box),
        (Query.of_region(region.image, np.zeros_like(region.mask)), 3, CROP),
    ]
    for other, k, crop in others:
        with pytest.raises(SearchFailed, match="holds no search") as failed:
            replay.search([other], k, region_crop=crop)
        assert not failed.value.is_temporary


def test_a_crop_matters_to_regions_alone(recorded):
    queries = [each for each in mixed_queries() if each.mask is None]
    replay = replayed(recorded)
    as_recorded = replay.search(queries, 3, region_crop=CROP)
    assert replay.search(queries, 3, region_crop=RegionCrop.padded_box) == as_recorded


def test_a_line_that_a_kill_has_cut_is_searched_for_again(recorded):
    path = Path(recorded.recording)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    open_searcher(recorded).search(mixed_queries(), 3, region_crop=CROP)
    assert path.read_bytes() == whole


def test_a_recording_of_another_source_is_not_gone_on_with(recorded):
    with pytest.raises(ValueError, match="searches of another source"):
        open_searcher(replace(recorded, region_margin=0.3))


class Nothing:
    """A source that finds nothing, in a corpus of its own."""

    def __init__(self, corpus: str) -> None:
        self.corpus = corpus

    def search(self, queries, k=5, *, region_crop):
        return [[] for _ in queries]

    def info(self):
        return SourceInfo(manifests={}, corpus_sha256=self.corpus, num_documents=0, settings={})


def claims(corpus: str, folder: Path, barrier: Barrier, rounds: int) -> None:
    """Begin recordings at the same time as another process does; write down which were given."""
    given = []
    for number in range(rounds):
        barrier.wait(60)
        with suppress(ValueError):
            RecordingSearcher(Nothing(corpus), folder / f"{number}.jsonl")
            given.append(number)
    (folder / corpus).write_text(json.dumps(given))


def test_of_two_processes_at_once_one_source_is_recorded(tmp_path):
    """Each file is of the one that had it first, and the other is refused."""
    rounds = 30
    context = get_context("fork")  # has no more to do than to open files
    barrier = context.Barrier(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        workers = [
            context.Process(target=claims, args=(corpus, tmp_path, barrier, rounds))
            for corpus in ("one", "other")
        ]
        for worker in workers:
            worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    given = {corpus: json.loads((tmp_path / corpus).read_text()) for corpus in ("one", "other")}
    assert sorted([*given["one"], *given["other"]]) == list(range(rounds))
    for corpus, numbers in given.items():
        for number in numbers:
            info = json.loads((tmp_path / f"{number}.jsonl.info").read_text())
            assert info["corpus_sha256"] == corpus


def test_searches_of_an_unknown_source_are_not_gone_on_with(recorded):
    Path(recorded.recording).with_name("searches.jsonl.info").unlink()
    with pytest.raises(ValueError, match="does not say what was recorded"):
        open_searcher(recorded)


def test_what_may_lack_a_server_is_not_recorded():
    """A replay would find it as if all servers had been asked."""
    skipping = ClientOptions(on_missing_server=OnMissingServer.skip)
    RetrievalOptions(fan_out=["http://a", "http://b"], client=skipping)
    with pytest.raises(ValueError, match="use on_missing_server=error"):
        RetrievalOptions(fan_out=["http://a", "http://b"], client=skipping, recording="file")


def test_what_is_no_recording_is_told(built, recorded, tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        ReplaySearcher(tmp_path / "nowhere.jsonl")
    path = Path(recorded.recording)
    path.write_bytes(b"{}\n" + path.read_bytes())
    with pytest.raises(ValueError, match=r"searches\.jsonl:1: no recorded search"):
        replayed(recorded)
    path.with_name("searches.jsonl.info").unlink()
    with pytest.raises(ValueError, match="does not say what was recorded"):
        replayed(recorded)
    with pytest.raises(ValueError, match=r"set retrieval\.recording"):
        replace(built, source=RetrievalSource.replay)
