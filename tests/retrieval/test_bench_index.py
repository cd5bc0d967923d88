"""The benchmark of building, at a size of seconds."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from pixsearch.config import BenchIndexOptions, BuildOptions
from pixsearch.retrieval.bench.index_building import bench_index, write_vectors
from pixsearch.retrieval.bench.memory import peak_of
from pixsearch.retrieval.bench.synthetic import Topics

MIB = 2**20


@pytest.mark.slow
def test_the_watched_process_is_charged_for_what_it_holds():
    answer, peak, before = peak_of(np.full, 100 * MIB // 8, 1.0)  # the array and its pickle
    assert len(answer) == 100 * MIB // 8
    assert 100 * MIB <= peak < 350 * MIB
    assert before > 0
    with pytest.raises(RuntimeError, match="ended early"):
        peak_of(os._exit, 3)


def test_vectors_are_those_of_the_other_benchmark(tmp_path: Path):
    folder = tmp_path / "vectors"
    write_vectors(BenchIndexOptions(folder=str(folder), count=50, dimension=8, num_topics=4))
    np.testing.assert_array_equal(
        np.load(folder / "00000.npy"), Topics(4, 8, seed=BuildOptions().seed).draw(50)
    )


def test_by_default_as_many_vectors_are_added_at_a_time_as_a_shard_has():
    assert BuildOptions().add_vectors == BuildOptions().shard_size


@pytest.mark.slow
def test_rows_say_what_building_took(tmp_path: Path):
    """At most a chunk of 1,000 vectors and the training sample lie beside the index."""
    options = BenchIndexOptions(
        output=str(tmp_path / "index.json"),
        folder=str(tmp_path / "vectors"),
        count=20_000,
        dimension=64,
        num_topics=50,
        factories=["IVF16,RaBitQfs,Refine(SQ8) nprobe=16,k_factor_rf=8", "SQ8"],
        build=BuildOptions(train_vectors=2000, add_vectors=1000, threads=1),
    )
    bench_index(options)
    result = json.loads(Path(options.output).read_text())
    assert result["all_within_limit"]
    assert [row["factory"] for row in result["rows"]] == ["IVF16,RaBitQfs,Refine(SQ8)", "SQ8"]
    for row in result["rows"]:
        assert 64 * 20_000 < row["index_bytes"] < 110 * 20_000
        assert row["limit_bytes"] == row["index_bytes"] * 3 // 2 + 1024 * MIB
        assert row["index_bytes"] < row["peak_bytes"] < 128 * MIB
        assert row["recall_at_10"] > 0.7
    assert not Path(options.folder).exists()
