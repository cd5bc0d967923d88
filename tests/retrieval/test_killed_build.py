"""Real processes: killed by SIGKILL at places that are waited for, and side by side."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pixsearch.config import (
    BuildIndexOptions,
    BuildOptions,
    EncoderOptions,
    RetrievalOptions,
    TextSearch,
)
from pixsearch.retrieval.build import build_indexes
from tests.retrieval.conftest import write_corpus

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("standing_still.py")
BUILD = BuildOptions(shard_size=50, window=16, train_vectors=200, add_vectors=64, wait_seconds=60.0)
REFINED, GRAPH = "IVF4,RaBitQfs,Refine(SQ8)", "HNSW8,SQ8"


@pytest.fixture
def options(tmp_path: Path) -> RetrievalOptions:
    """330 documents, 7 shards."""
    words = [
        "amber",
        "birch",
        "cedar",
        "delta",
        "ember",
        "flint",
        "grove",
        "heron",
        "iris",
        "jade",
        "kelp",
    ]
    records = [
        {
            "id": f"d{row}",
            "title": f"Thing {row * 7919 % 331}",
            "contents": " ".join(words[(row * step) % 11] for step in range(1, row % 9 + 2)),
        }
        for row in range(330)
    ]
    return RetrievalOptions(
        knowledge_base=str(write_corpus(tmp_path / "knowledge_base", records)),
        index=str(tmp_path / "index"),
        text_encoder=EncoderOptions(name="hashed_ngrams", dimension=64, batch_size=8),
        image_encoder=EncoderOptions(name="none", dimension=1),
        factory=REFINED,
    )


def start(
    options: RetrievalOptions, reached: Path, *, stop: str = "", number: int = 0, **variables: str
) -> subprocess.Popen[bytes]:
    chosen = asdict(BuildIndexOptions(retrieval=options, build=BUILD))
    arguments = {"options": chosen, "stop": stop, "number": number, "reached": str(reached)}
    return subprocess.Popen(
        [sys.executable, str(CHILD), json.dumps(arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
    )


def kill_at(stop: str, number: int, options: RetrievalOptions, folder: Path) -> None:
    """Start a build and end it, without a chance to tidy up, where it stands still."""
    reached = folder / f"reached-{stop}"
    process = start(options, reached, stop=stop, number=number)
    while not reached.exists():
        assert process.poll() is None, f"it ended before {stop}"
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -9
    reached.unlink()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def done_shards(options: RetrievalOptions) -> dict[str, int]:
    folder = Path(options.index) / "vectors" / "text"
    return {path.stem: path.stat().st_mtime_ns for path in folder.glob("*.json")}


def test_a_build_killed_at_every_step_ends_in_the_same_bytes(options, tmp_path):
    whole = replace(options, index=str(tmp_path / "whole"))
    for factory in (REFINED, GRAPH):
        build_indexes(replace(whole, factory=factory), BUILD, progress=False)
        expected = contents(Path(whole.index) / "text")
        interrupted = replace(options, factory=factory)
        before = done_shards(options)
        if factory == REFINED:
            kill_at("encode", 10, interrupted, tmp_path)  # 4 windows to a shard: in the third
            before = done_shards(options)
            assert sorted(before) == ["00000", "00001"]
            kill_at("mark", 2, interrupted, tmp_path)
            assert sorted(done_shards(options)) == ["00000", "00001", "00002"]
            kill_at("reserve", 1, interrupted, tmp_path)
            assert not (Path(options.index) / "text").exists()
        kill_at("add", 3, interrupted, tmp_path)
        kill_at("save", 1, interrupted, tmp_path)
        build_indexes(interrupted, BUILD, progress=False)
        assert contents(Path(options.index) / "text") == expected
        assert before.items() <= done_shards(options).items()  # none was encoded again
        assert not list(Path(options.index).glob("*.partial"))


def test_words_are_numbered_alike_in_every_process(options, tmp_path):
    """Python's strings hash otherwise in each, and so are its sets ordered."""
    found = []
    for seed in ("1", "2"):
        index = tmp_path / seed
        words = replace(options, index=str(index), text_search=TextSearch.bm25)
        assert start(words, tmp_path, PYTHONHASHSEED=seed).wait(120) == 0
        found.append(contents(index / "bm25"))
    assert found[0] == found[1]


def test_two_processes_share_the_work(options, tmp_path):
    build_indexes(replace(options, index=str(tmp_path / "whole")), BUILD, progress=False)
    shared = {"WORLD_SIZE": "2"}
    processes = [start(options, tmp_path, RANK=str(rank), **shared) for rank in (0, 1)]
    assert [process.wait(120) for process in processes] == [0, 0]
    folder = Path(options.index) / "vectors" / "text"
    writers = [json.loads(path.read_text())["written_by"] for path in sorted(folder.glob("*.json"))]
    assert writers == [f"process {number % 2} of 2" for number in range(7)]
    assert contents(Path(options.index) / "text") == contents(tmp_path / "whole" / "text")
