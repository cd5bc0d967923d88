"""From a file in Wiki6M's layout and a web server to a knowledge base that can be searched."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pixsearch.config import (
    ChunkOptions,
    EncoderOptions,
    FromDocument,
    ImageSourceOptions,
    PrepareKnowledgeOptions,
    RetrievalOptions,
)
from pixsearch.queries import Query
from pixsearch.retrieval.build import build_indexes
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from pixsearch.retrieval.searcher import Searcher
from pixsearch.retrieval.sources.image_manifest import image_path
from pixsearch.retrieval.sources.preparing import prepare_knowledge
from tests.commands import ROOT
from tests.retrieval.sources.image_server import ImageServer, running
from tests.retrieval.sources.test_downloading import files, lines
from tests.retrieval.sources.test_fetching import OPTIONS as IMAGES

from .wiki6m_files import article, write_wiki6m

BAD = ("status/404", "halved/1", "svg/1")


def records(address: str, count: int, *, bad: tuple[str, ...] = BAD) -> list[dict]:
    """Articles with an image each, then some whose image fails, one without, one without text."""
    good = [article(number, url=f"{address}/ok/{number}") for number in range(count)]
    failing = [article(1000 + n, url=f"{address}/{path}") for n, path in enumerate(bad)]
    plain = [article(2000), article(2001, wikipedia_content=None, wikipedia_summary="")]
    return [*good, *failing, *plain]


def source_options(
    folder: Path, articles: list[dict], **changes: object
) -> PrepareKnowledgeOptions:
    file = write_wiki6m(folder / "Wiki6M_ver_1_0.jsonl.gz", articles)
    options = PrepareKnowledgeOptions(
        source="wiki6m",
        file=str(file),
        output_dir=str(folder / "kb"),
        chunks=ChunkOptions(words=30, overlap=4),
        images=IMAGES,
    )
    return replace(options, **changes)


def corpus(options: PrepareKnowledgeOptions) -> list[dict]:
    path = Path(options.output_dir) / "corpus.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_source_becomes_a_knowledge_base(server, tmp_path):
    source = records(server.address, 3)
    options = source_options(tmp_path, source)
    counts = prepare_knowledge(options)
    assert (counts.documents, counts.without_text) == (7, 1)
    assert (counts.with_address, counts.with_image) == (6, 3)
    knowledge_base = KnowledgeBase(options.output_dir)
    assert len(knowledge_base) == counts.chunks == len(corpus(options))
    assert {chunk.document for chunk in knowledge_base} == {
        each["wikidata_id"] for each in source[:-1]
    }
    for chunk in knowledge_base:
        is_lead_with_image = chunk.chunk == 0 and int(chunk.document[1:]) < 1000
        assert len(chunk.images) == is_lead_with_image
        for path in chunk.images:
            assert knowledge_base.image(chunk, path).size == (24, 24)
    words = [chunk.contents.split() for chunk in knowledge_base if chunk.document == "Q1"]
    assert words[0] + [word for chunk in words[1:] for word in chunk[4:]] == (
        source[1]["wikipedia_content"].split()
    )


def test_half_of_a_character_does_not_end_a_run(server, tmp_path):
    """JSON escapes it, UTF-8 cannot hold it: found out only when the corpus is written."""
    half = {"wikipedia_title": "Half \ud83d", "wikipedia_content": "A \ud83d b."}
    bad_address = article(2, url=f"{server.address}/status/404?\ud83d")
    options = source_options(tmp_path, [article(1, **half), bad_address])
    assert prepare_knowledge(options).documents == 2
    chunk = KnowledgeBase(options.output_dir)["Q1#0"]
    assert (chunk.title, chunk.contents) == ("Half ?", "A ? b.")


def test_every_document_without_its_image_is_listed(server, tmp_path):
    options = source_options(tmp_path, records(server.address, 2))
    counts = prepare_knowledge(options)
    path = Path(options.output_dir) / "quarantine.jsonl"
    listed = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["document"] for line in listed] == ["Q1000", "Q1001", "Q1002"]
    assert Counter(line["reason"] for line in listed) == counts.quarantined
    assert [line["url"] for line in listed] == [f"{server.address}/{path}" for path in BAD]
    prepared = json.loads((Path(options.output_dir) / "prepared.json").read_text())
    assert prepared["counts"]["quarantined"] == counts.quarantined
    assert prepared["options"]["chunks"] == {"words": 30, "overlap": 4}
    assert prepared["counts"]["bytes"] == (Path(options.output_dir) / "corpus.jsonl").stat().st_size


def test_the_result_can_be_searched(server, tmp_path, clip_folder):
    source = records(server.address, 3)
    source[1]["wikipedia_content"] += " The tallest mast stands in Tarnwick."
    options = source_options(tmp_path, source)
    prepare_knowledge(options)
    retrieval = RetrievalOptions(
        knowledge_base=options.output_dir,
        index=str(tmp_path / "index"),
        text_encoder=EncoderOptions(name="hashed_ngrams", dimension=512),
        image_encoder=EncoderOptions(name="open_clip", model=str(clip_folder), dimension=24),
        from_document=FromDocument.nearest,
    )
    manifests = build_indexes(retrieval, progress=False)
    assert manifests["image"].count == 3
    searcher = Searcher.open(retrieval)
    lead = searcher.knowledge_base["Q1#0"]
    image = searcher.knowledge_base.image(lead, lead.images[0])
    queries = [Query.of_image(image, question="where is the tallest mast?"), Query.of_image(image)]
    (nearest,), (first,) = searcher.search(queries, k=1)
    assert "Tarnwick" in nearest.text
    assert (first.id, nearest.title) == ("Q1#0", "Article 1")


def test_a_second_run_asks_for_nothing_and_changes_nothing(server, tmp_path):
    options = source_options(tmp_path, records(server.address, 4))
    prepare_knowledge(options)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    asked = Counter(server.asked)
    prepare_knowledge(options)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert server.asked == asked


def test_a_dry_run_counts_and_does_nothing(server, tmp_path):
    options = source_options(tmp_path, records(server.address, 4))
    counts = prepare_knowledge(replace(options, dry_run=True))
    assert server.asked == Counter()
    assert not Path(options.output_dir).exists()
    assert (counts.documents, counts.with_address, counts.with_image) == (8, 7, 0)
    assert counts.quarantined == {"not fetched": 7}
    real = prepare_knowledge(replace(options, images=ImageSourceOptions(download=False)))
    assert (counts.documents, counts.chunks) == (real.documents, real.chunks)
    assert counts.bytes == real.bytes == (Path(options.output_dir) / "corpus.jsonl").stat().st_size


def test_a_sample_grows(server, tmp_path):
    options = source_options(tmp_path, records(server.address, 5))
    assert prepare_knowledge(replace(options, limit=2)).documents == 2
    assert sum(server.asked.values()) == 2
    assert prepare_knowledge(options).with_image == 5
    assert all(server.asked[f"/ok/{number}"] == 1 for number in range(5))


@pytest.mark.parametrize(
    ("source", "changes", "message"),
    [
        ([article(1), article(2), article(1)], {}, "1 ids occur more than once, 'Q1' among them"),
        (
            [article(1, wikipedia_content="", wikipedia_summary="")],
            {},
            "has no article with a text",
        ),
        ([article(1)], {"source": "wiki"}, "source=wiki is unknown"),
    ],
)
def test_a_source_that_is_none(tmp_path, source, changes, message):
    options = source_options(tmp_path, source, **changes)
    with pytest.raises(ValueError, match=message):
        prepare_knowledge(options)
    assert not (Path(options.output_dir) / "corpus.jsonl").exists()


def test_options_that_make_no_sense():
    with pytest.raises(ValueError, match=r"chunks\.overlap=5: less than half of chunks\.words=10"):
        ChunkOptions(words=10, overlap=5)
    with pytest.raises(ValueError, match="limit=0"):
        PrepareKnowledgeOptions(output_dir="x", limit=0)


RUN = """
import json, sys
from pixsearch.config import PrepareKnowledgeOptions, from_omegaconf
from pixsearch.retrieval.sources.preparing import prepare_knowledge
prepare_knowledge(from_omegaconf(PrepareKnowledgeOptions, json.loads(sys.argv[1])))
"""


def started(options: PrepareKnowledgeOptions) -> subprocess.Popen[bytes]:
    values = {
        "source": options.source,
        "file": options.file,
        "output_dir": options.output_dir,
        "images": {"contact": "tests@example.org", "megabits_per_second": None},
    }
    return subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(values)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )


def killed_after(options: PrepareKnowledgeOptions, server: ImageServer, num_answers: int) -> None:
    """Run in a process of its own; SIGKILL when the server has given so many answers more."""
    goal = sum(server.answered.values()) + num_answers
    process = started(options)
    while sum(server.answered.values()) < goal:
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert process.returncode == -9


def whole(paths: set[str]) -> set[str]:
    return {path for path in paths if not path.endswith(".partial")}


def account_of_kills(tmp_path: Path, *, count: int, kills: list[int], delay: float) -> None:
    """Kill a run again and again, end it well, and account for every request, file and line."""
    with running(ImageServer(delay=delay)) as server:
        options = source_options(tmp_path, records(server.address, count))
        folder = Path(options.output_dir)
        good = [f"{server.address}/ok/{number}" for number in range(count)]
        failing = [f"{server.address}/{path}" for path in BAD]
        for num_answers in kills:
            stored_before = files(folder)
            asked_before = Counter(server.asked)
            killed_after(options, server, num_answers)
            assert whole(stored_before) <= files(folder)  # nothing is lost
            assert not (folder / "corpus.jsonl").exists()
            for url in good:
                if image_path(url) in stored_before:  # nothing is downloaded twice
                    path = url.removeprefix(server.address)
                    assert server.asked[path] == asked_before[path]
        stored, asked = files(folder), Counter(server.asked)
        process = started(options)
        assert process.wait() == 0, process.communicate()[1].decode()
        process.communicate()
        expected = {image_path(url) for url in good}
        assert files(folder) == expected  # and no partial file
        status = {line["url"]: line["status"] for line in lines(folder)}
        assert len(lines(folder)) == len(status) == count + len(BAD)
        assert {url for url in status if status[url] == "stored"} == set(good)
        assert {url for url in status if status[url] == "quarantined"} == set(failing)
        for url in good:
            path = url.removeprefix(server.address)
            assert server.asked[path] == asked[path] + (image_path(url) not in stored)
        # Twice is asked only for what was under way at a kill: one image for each connection.
        repeated = sum(server.asked.values()) - len(status)
        assert repeated <= len(kills) * ImageSourceOptions().connections
        chunks = list(KnowledgeBase(folder))
        assert {path for chunk in chunks for path in chunk.images} == expected


def test_a_kill_loses_nothing_and_nothing_is_asked_for_twice(tmp_path):
    account_of_kills(tmp_path, count=40, kills=[15], delay=0.004)


@pytest.mark.slow
def test_many_kills(tmp_path):
    kills = [1, 2, 3, 5, 8, 13, 21, 34, 1, 2]
    account_of_kills(tmp_path, count=150, kills=kills, delay=0.002)


@pytest.mark.slow
def test_the_script(server, tmp_path):
    """As a user calls it, twice: sampled, then whole; and without a contact."""
    options = source_options(tmp_path, records(server.address, 3))
    command = [
        sys.executable,
        "scripts/prepare_knowledge.py",
        "source=wiki6m",
        f"file={options.file}",
        f"output_dir={options.output_dir}",
    ]

    def run(*overrides: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *overrides], cwd=ROOT, capture_output=True, text=True, check=False
        )

    refused = run()
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: images.contact is missing")
    assert len(refused.stderr.splitlines()) == 1
    for overrides in (["limit=2"], []):
        done = run("images.contact=tests@example.org", *overrides)
        assert done.returncode == 0, done.stderr
    assert "7 documents in" in done.stdout
    assert "6 documents name one, 3 have it" in done.stdout
    assert len(KnowledgeBase(options.output_dir)) == 7
