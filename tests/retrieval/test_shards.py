"""Shards of vectors: what a build goes on from, and who writes which."""

import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pixsearch.retrieval.building.encoding import Encoding
from pixsearch.retrieval.building.processes import Process
from pixsearch.retrieval.building.shards import Shards
from pixsearch.retrieval.building.sources import ImageSource, TextSource, count_images
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from tests.retrieval.conftest import write_corpus

WORDS = ["amber", "birch", "cedar", "delta", "ember", "flint", "grove", "heron", "iris", "jade"]


def write_documents(folder: Path, count: int = 10, **changes: str) -> KnowledgeBase:
    records = [
        {"id": f"d{row}", "title": WORDS[row], "contents": "x" * (7 * row % 11 + 1)}
        for row in range(count)
    ]
    for record in records:
        record["contents"] = changes.get(record["id"], record["contents"])
    return KnowledgeBase(write_corpus(folder, records))


class Lengths:
    """An encoder whose vector of a text is (its length, 1); it remembers what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.batches.append(texts)
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


def shards_of(knowledge_base: KnowledgeBase, folder: Path, **changes) -> Shards:
    encoding = Encoding(source=TextSource(knowledge_base), dimension=2, batch_size=2, window=3)
    return Shards(folder, encoding, encoder=changes.get("encoder", {"name": "lengths"}), size=4)


def write(shards: Shards, numbers, encode=None, process=None) -> None:
    for number in numbers:
        shards.write(number, encode or Lengths(), process or Process(), lambda count: None)


def test_batches_are_of_like_length_and_vectors_in_order(tmp_path):
    knowledge_base = write_documents(tmp_path / "kb")
    encode, shards = Lengths(), shards_of(knowledge_base, tmp_path / "vectors")
    write(shards, range(len(shards)), encode)
    lengths = [len(document.text) for document in knowledge_base]
    found = np.concatenate(list(shards.vectors().chunks(100)))
    np.testing.assert_array_equal(found[:, 0], lengths)
    assert [shards.num_items(number) for number in range(3)] == [4, 4, 2]
    # windows of 3 inside shards of 4: (0 1 2) (3) (4 5 6) (7) (8 9), longest first, by 2
    assert [len(batch) for batch in encode.batches] == [2, 1, 1, 2, 1, 1, 2]
    assert [len(text) for text in [*encode.batches[0], *encode.batches[1]]] == sorted(
        lengths[:3], reverse=True
    )


def test_processes_share_the_shards(tmp_path):
    knowledge_base = write_documents(tmp_path / "kb")
    folder = tmp_path / "vectors"
    for rank in (1, 0):
        process = Process(rank=rank, world_size=2)
        shards = shards_of(knowledge_base, folder)
        write(shards, process.share(len(shards)), process=process)
    writers = [json.loads(path.read_text())["written_by"] for path in sorted(folder.glob("*.json"))]
    assert writers == ["process 0 of 2", "process 1 of 2", "process 0 of 2"]
    shards_of(knowledge_base, folder).wait(0.0)


def truncated(folder):
    path = folder / "00001.npy"
    path.write_bytes(path.read_bytes()[:-3])


def flipped(folder):
    content = bytearray((folder / "00001.npy").read_bytes())
    content[-1] ^= 1
    (folder / "00001.npy").write_bytes(content)


def gone(folder):
    (folder / "00001.npy").unlink()


def no_marker(folder):
    (folder / "00001.json").unlink()


def broken_marker(folder):
    (folder / "00001.json").write_text('{"of":')


@pytest.mark.parametrize("harm", [truncated, flipped, gone, no_marker, broken_marker])
def test_a_shard_that_is_not_whole_is_not_done(harm, tmp_path):
    knowledge_base = write_documents(tmp_path / "kb")
    write(shards_of(knowledge_base, tmp_path / "vectors"), range(3))
    harm(tmp_path / "vectors")
    shards = shards_of(knowledge_base, tmp_path / "vectors")
    assert [shards.is_done(number) for number in range(3)] == [True, False, True]
    write(shards, [1])
    assert shards.is_done(1)


def test_a_changed_document_is_encoded_anew_with_its_shard_alone(tmp_path):
    write(shards_of(write_documents(tmp_path / "kb"), tmp_path / "vectors"), range(3))
    changed = write_documents(tmp_path / "kb", d5="other words")
    shards = shards_of(changed, tmp_path / "vectors")
    assert [shards.is_done(number) for number in range(3)] == [True, False, True]


def test_another_encoder_encodes_all_anew(tmp_path):
    knowledge_base = write_documents(tmp_path / "kb")
    write(shards_of(knowledge_base, tmp_path / "vectors"), range(3))
    shards = shards_of(knowledge_base, tmp_path / "vectors", encoder={"name": "other"})
    assert not any(shards.is_done(number) for number in range(3))


def test_what_a_larger_corpus_left_is_removed(tmp_path):
    write(shards_of(write_documents(tmp_path / "kb"), tmp_path / "vectors"), range(3))
    (tmp_path / "vectors" / "00001.npy.elsewhere-7.partial").touch()
    shards = shards_of(write_documents(tmp_path / "kb", count=4), tmp_path / "vectors")
    shards.remove_others()
    left = sorted(path.name for path in (tmp_path / "vectors").iterdir())
    assert left == ["00000.json", "00000.npy", "lock"]


def in_another_process(work: Callable[[], None]) -> int:
    """The exit code of a forked process; 1 where `work` raised."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    return process.exitcode


def test_a_shard_that_another_process_encodes_is_left_to_it(tmp_path):
    """An orphan of a killed launch goes on while the next build begins."""
    knowledge_base, folder = write_documents(tmp_path / "kb"), tmp_path / "vectors"
    shards, lengths, told = shards_of(knowledge_base, folder), Lengths(), tmp_path / "told"

    def same_shard():
        try:
            write(shards_of(knowledge_base, folder), [1])
        except ValueError as error:
            told.write_text(str(error))

    def others():
        other = shards_of(knowledge_base, folder)
        write(other, [0, 2])
        other.remove_others()

    def encode(texts):
        if not lengths.batches:
            assert in_another_process(same_shard) == 0
            assert in_another_process(others) == 0
        return lengths(texts)

    write(shards, [1], encode)
    me = f"00001.npy.{socket.gethostname()}-{os.getpid()}.partial"
    assert told.read_text().startswith(f"another process encodes shard 1 of {folder} ({me}, ")
    expected = [len(document.text) for document in knowledge_base]
    whole = shards_of(knowledge_base, folder)
    whole.wait(0.0)
    found = np.concatenate(list(whole.vectors().chunks(100)))
    np.testing.assert_array_equal(found[:, 0], expected)


def test_waiting_ends_with_the_shards_that_are_missing(tmp_path):
    shards = shards_of(write_documents(tmp_path / "kb"), tmp_path / "vectors")
    write(shards, [1])
    with pytest.raises(TimeoutError, match=r"shard 0, 2 of 3 did not come for build\.wait_seconds"):
        shards.wait(0.0)


def test_a_vector_that_is_not_finite_names_its_document(tmp_path):
    def encode(texts):
        vectors = Lengths()(texts)
        vectors[[text.startswith(WORDS[5]) for text in texts]] = np.inf
        return vectors

    shards = shards_of(write_documents(tmp_path / "kb"), tmp_path / "vectors")
    with pytest.raises(ValueError, match="vector of document 'd5' is not finite"):
        write(shards, [1], encode)
    assert not shards.is_done(1)


def test_a_document_over_the_limit_is_named(tmp_path):
    knowledge_base = write_documents(tmp_path / "kb", d3="x" * 100)
    count_images(knowledge_base, max_characters=106)
    with pytest.raises(ValueError, match="document 'd3' has 106 characters, more than build"):
        count_images(knowledge_base, max_characters=105)


def test_images_know_their_documents(tmp_path):
    records = [
        {"id": "a", "contents": "a", "images": ["images/1.png", "images/2.png"]},
        {"id": "b", "contents": "b"},
        {"id": "c", "contents": "c", "images": ["images/3.png"]},
    ]
    knowledge_base = KnowledgeBase(write_corpus(tmp_path, records))
    source = ImageSource(knowledge_base, count_images(knowledge_base, max_characters=9))
    assert source.rows.tolist() == [0, 0, 2]
    assert [source.name(place) for place in range(3)] == [
        "image images/1.png of document 'a'",
        "image images/2.png of document 'a'",
        "image images/3.png of document 'c'",
    ]


@pytest.mark.parametrize(
    ("rank", "world_size", "message"),
    [("2", "2", "RANK=2, WORLD_SIZE=2"), ("one", "2", "RANK='one' in the environment is no")],
)
def test_an_environment_that_makes_no_sense(rank, world_size, message, monkeypatch):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world_size)
    with pytest.raises(ValueError, match=message):
        Process.from_environment()
