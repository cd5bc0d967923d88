"""The benchmark of searching, whole, on a tiny corpus; what it says of speed is not judged."""

import json
from pathlib import Path

import faiss
import numpy as np
import pytest

from pixsearch.config import BenchRetrievalOptions, BuildOptions, ScaleOptions
from pixsearch.retrieval.bench.scale import BEGIN, END, measured, need, write_tables
from pixsearch.retrieval.bench.searching import bench_retrieval, paired
from pixsearch.retrieval.bench.synthetic import Topics, write_documents
from pixsearch.retrieval.knowledge_base import KnowledgeBase


@pytest.fixture
def options(tmp_path: Path) -> BenchRetrievalOptions:
    return BenchRetrievalOptions(
        output=str(tmp_path / "retrieval.json"),
        folder=str(tmp_path / "passages"),
        count=600,
        dimension=64,
        documents_per_topic=100,
        words=5,
        num_queries=50,
        batch=16,
        repeats=3,
        indexes=["Flat", "SQ8", "IVF8,Flat nprobe=1", "IVF8,Flat nprobe=8"],
        overhead=["Flat", "HNSW8 efSearch=16"],
        build=BuildOptions(threads=1),
    )


def test_it_writes_a_row_for_each_index_and_what_our_call_adds(options):
    bench_retrieval(options)
    written = json.loads(Path(options.output).read_text())
    rows = {f"{row['factory']} {row['search_parameters']}".strip(): row for row in written["rows"]}
    assert list(rows) == options.indexes
    assert [rows[name]["recall_at_10"] for name in ("Flat", "IVF8,Flat nprobe=8")] == [1.0, 1.0]
    assert rows["IVF8,Flat nprobe=1"]["recall_at_10"] < 1.0
    assert rows["Flat"]["bytes_per_vector"] == pytest.approx(256, abs=1)
    assert rows["SQ8"]["bytes_per_vector"] == pytest.approx(65, abs=2)
    assert all(row["queries_per_second"] > 0 and row["milliseconds"] > 0 for row in rows.values())
    assert list(written["overhead"]) == options.overhead
    for each in written["overhead"].values():
        assert each["ratio"] == pytest.approx(each["ms_ours"] / each["ms_bare"])
    assert not Path(options.folder).exists()


def test_both_calls_see_every_batch_and_are_first_in_turns():
    calls = []
    batches = [np.full((1, 2), number, dtype=np.float32) for number in range(4)]
    paired(
        lambda batch: calls.append(("ours", int(batch[0, 0]))),
        lambda batch: calls.append(("bare", int(batch[0, 0]))),
        batches,
    )
    assert [name for name, _ in calls[::2]] == ["bare", "ours", "bare", "ours"]
    assert sorted(calls) == sorted((name, n) for name in ("ours", "bare") for n in range(4))


def test_vectors_lie_about_topics_so_that_cells_find_their_neighbours():
    """Of the ten nearest, one cell of eight finds most; of random directions it would not."""
    vectors, queries = (Topics(8, 64, seed=0).draw(2000) for _ in range(2))
    random = np.random.default_rng(0).standard_normal((2000, 64)).astype(np.float32)

    def recall(base: np.ndarray, asked: np.ndarray) -> float:
        index = faiss.index_factory(64, "IVF8,Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(base)
        index.add(base)
        exact = faiss.knn(asked, base, 10, metric=faiss.METRIC_INNER_PRODUCT)[1]
        found = index.search(asked, 10)[1]
        return float(
            np.mean([len(np.intersect1d(*p)) / 10 for p in zip(exact, found, strict=True)])
        )

    np.testing.assert_array_equal(vectors, queries)  # drawn by the seed
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert recall(vectors, vectors[:200]) > 0.9
    assert recall(random, random[:200]) < 0.7


def test_documents_are_a_knowledge_base(tmp_path):
    write_documents(tmp_path / "kb", count=7, words=3, seed=0)
    documents = list(KnowledgeBase(tmp_path / "kb"))
    assert [one.id for one in documents] == [f"d{number}" for number in range(7)]
    assert all(len(one.contents.split()) == 3 for one in documents)


RETRIEVAL = {
    "rows": [
        {
            "factory": "SQ8",
            "search_parameters": "",
            "recall_at_10": 0.995,
            "bytes_per_vector": 1024.0,
            "vectors_per_second": 1000.0,
        },
        {
            "factory": "IVF1024,SQ8",
            "search_parameters": "nprobe=8",
            "recall_at_10": 0.9,
            "bytes_per_vector": 2048.0,
            "vectors_per_second": 500.0,
        },
    ],
    "options": {"count": 1 << 20, "dimension": 1024},
    "threads": 2,
    "faiss": "1.15.1",
}
INDEX = {
    "rows": [{"factory": "IVF4096,SQ8", "peak_bytes": 300, "index_bytes": 200}],
    "options": {"count": 2_000_000, "dimension": 384},
}


def test_needs_follow_from_what_was_measured():
    """1 GiB for each 2**20 vectors of 1,024 bytes; a machine takes 80 of its 100 GiB."""
    options = ScaleOptions(machine_gib=100, machine_cores=8)
    scalar, inverted = measured(RETRIEVAL, INDEX)
    found = need(scalar, 160 << 20, options)
    assert (found.index_gib, found.machines, found.build_gib) == (160.0, 2, None)
    assert found.core_hours == pytest.approx((160 << 20) * 2 / 1000 / 3600)
    assert found.hours == pytest.approx(found.core_hours / 16)
    found = need(inverted, 160 << 20, options)
    assert (found.index_gib, found.machines, found.build_gib) == (320.0, 4, 120.0)
    part = 40  # times as many vectors on each machine as were measured
    assert found.core_hours == pytest.approx((160 << 20) * 2 / 500 / 3600 * part**0.5)


@pytest.fixture
def scale(tmp_path: Path) -> ScaleOptions:
    (tmp_path / "retrieval.json").write_text(json.dumps(RETRIEVAL))
    (tmp_path / "index.json").write_text(json.dumps(INDEX))
    (tmp_path / "scale.md").write_text(f"before\n{BEGIN}\nold\n{END}\nbehind\n")
    return ScaleOptions(
        document=str(tmp_path / "scale.md"),
        counts=[6_000_000],
        searching=str(tmp_path / "retrieval.json"),
        building=str(tmp_path / "index.json"),
    )


def test_tables_are_written_between_the_marks_as_often_as_one_likes(scale):
    for _ in range(2):
        write_tables(scale)
    text = Path(scale.document).read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nbehind\n")
    assert "old" not in text
    assert text.count("### 6,000,000 vectors") == 1
    assert "| `SQ8` | 0.995 | 1024 | 5.7 | 1 | not measured |" in text
    assert "| `IVF1024,SQ8 nprobe=8` | 0.900 | 2048 | 11.4 | 1 | 17.2 |" in text


def test_what_is_missing_is_named(scale):
    Path(scale.building).unlink()
    with pytest.raises(ValueError, match=r"index\.json is missing: run scripts/bench_index\.py"):
        write_tables(scale)
    Path(scale.document).write_text("no marks")
    with pytest.raises(ValueError, match="has no lines"):
        write_tables(scale)


def test_the_document_has_the_marks():
    text = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
    assert text.count(BEGIN) == text.count(END) == 1
