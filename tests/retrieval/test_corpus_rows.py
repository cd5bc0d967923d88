"""A long corpus is read once; what was found is remembered, and never of another corpus."""

import os

import pytest

from pixsearch.retrieval import corpus_rows
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from tests.retrieval.conftest import write_corpus

RECORDS = [
    {"id": f"d{number}", "contents": f"Text {number}.", "images": ["i.png"] * (number % 3 == 0)}
    for number in range(50)
]


@pytest.fixture
def remembering(monkeypatch, tmp_path_factory) -> list[int]:
    """Remember even short corpora; the list grows by one for each corpus that is read."""
    monkeypatch.setattr(corpus_rows, "REMEMBERED_FROM", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    scans: list[int] = []
    scan = KnowledgeBase._scan
    monkeypatch.setattr(KnowledgeBase, "_scan", lambda self: scans.append(1) or scan(self))
    return scans


def everything(knowledge_base: KnowledgeBase) -> list[object]:
    return [
        knowledge_base.sha256,
        knowledge_base.has_images,
        knowledge_base.images_sha256(),
        *knowledge_base,
        *(knowledge_base[document.id] for document in knowledge_base),
        "d50" in knowledge_base,
    ]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "i.png").write_bytes(b"x" * 10)
    return write_corpus(tmp_path, RECORDS)


def test_a_corpus_is_read_once(folder, remembering):
    first = everything(KnowledgeBase(folder))
    assert everything(KnowledgeBase(folder)) == first
    assert remembering == [1]
    assert not list(folder.glob("*partial*"))


def test_a_short_corpus_is_read_again(folder):
    KnowledgeBase(folder)
    assert not (folder / "corpus.jsonl.rows.npy").exists()


def test_another_corpus_is_read(folder, remembering):
    KnowledgeBase(folder)
    path = folder / "corpus.jsonl"
    path.write_text(path.read_text().replace("Text 7.", "Text 8."))
    os.utime(path, ns=(0, 1))
    changed = KnowledgeBase(folder)
    assert changed["d7"].contents == "Text 8."
    assert remembering == [1, 1]
    assert everything(KnowledgeBase(folder)) == everything(changed)
    assert remembering == [1, 1]


@pytest.mark.parametrize("content", [b"", b"no array", None])
def test_a_broken_file_is_made_anew(folder, remembering, content, caplog):
    first = everything(KnowledgeBase(folder))
    path = folder / "corpus.jsonl.rows.npy"
    path.write_bytes(path.read_bytes()[:500] if content is None else content)
    assert everything(KnowledgeBase(folder)) == first
    assert everything(KnowledgeBase(folder)) == first
    assert remembering == [1, 1]
    assert "made anew" in caplog.text


def test_a_file_of_another_version_is_made_anew(folder, remembering, monkeypatch):
    KnowledgeBase(folder)
    monkeypatch.setattr(corpus_rows, "VERSION", corpus_rows.VERSION + 1)
    KnowledgeBase(folder)
    KnowledgeBase(folder)
    assert remembering == [1, 1]


def test_a_corpus_with_errors_is_not_remembered(folder, remembering):
    write_corpus(folder, [*RECORDS, RECORDS[3]])
    for _ in range(2):
        with pytest.raises(ValueError, match="lines 4 and 51 both have the id 'd3'"):
            KnowledgeBase(folder)
    assert not (folder / "corpus.jsonl.rows.npy").exists()


def test_beside_a_corpus_that_may_not_be_written_to_it_lies_in_the_cache(folder, remembering):
    (folder / "corpus.jsonl.rows.npy").mkdir()  # a folder in its place: neither read nor replaced
    first = everything(KnowledgeBase(folder))
    assert everything(KnowledgeBase(folder)) == first
    assert remembering == [1]
    assert not list(folder.glob("*partial*"))
