"""CRAG-MM's search indexes: what its own package found in them (tests/golden/crag_mm), and more."""

import importlib.util
import json
import logging
import multiprocessing
import os
import shutil
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixsearch.config import (
    CragMMOptions,
    EncoderOptions,
    Pooling,
    RegionCrop,
    RetrievalOptions,
    RetrievalSource,
)
from pixsearch.queries import Query
from pixsearch.retrieval.crag_mm.collection import Collection, open_collection
from pixsearch.retrieval.crag_mm.entities import IMAGE_COLLECTION, Entity, ImageSearch
from pixsearch.retrieval.crag_mm.pages import WEB_COLLECTION, WebSearch
from pixsearch.retrieval.crag_mm.private_copy import installed_chromadb, private_copy
from pixsearch.retrieval.crag_mm.searcher import CragMMSearcher
from pixsearch.retrieval.encoders import open_image_encoder, open_text_encoder
from pixsearch.retrieval.info import SourceInfo
from pixsearch.retrieval.opening import open_searcher
from pixsearch.retrieval.regions import ImageQuery
from tests.golden.crag_mm.spawned import nearest_ids
from tests.golden.crag_mm.synthetic import (
    image_metadata,
    image_queries,
    picture,
    text_queries,
    write_collection,
    write_image_collection,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "crag_mm"
SCORE_TOLERANCE = 1e-6  # of Chroma's fp32 distances
VECTOR_TOLERANCE = 1e-6  # other batches are summed in another order

WITH_CHROMADB = pytest.mark.skipif(
    importlib.util.find_spec("chromadb") is None, reason="make setup EXTRAS=cpu,dev,crag-mm"
)
pytestmark = WITH_CHROMADB


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """The recorded collections, as chromadb 1.4.1 wrote them: image/ and web/. Do not change."""
    folder = tmp_path_factory.mktemp("published")
    with tarfile.open(GOLDEN / "collections.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def copies(tmp_path_factory):
    return tmp_path_factory.mktemp("copies")


def opened(name: str, source: Path, copies: Path, revision: str | None = None) -> Collection:
    return open_collection(name, source=str(source), revision=revision, copies=copies)


@pytest.fixture(scope="session")
def image_search(published, copies):
    collection = opened(IMAGE_COLLECTION, published / "image", copies)
    return ImageSearch(collection, rows_per_read=7)


@pytest.fixture(scope="session")
def web_search(published, copies):
    return WebSearch(opened(WEB_COLLECTION, published / "web", copies))


def recorded(kind: str) -> list[dict]:
    entries = json.loads((GOLDEN / "hits.json").read_text(encoding="utf-8"))
    return [entry for entry in entries if kind in entry]


def vectors_of(entries: list[dict]) -> np.ndarray:
    return np.array([entry["vector"] for entry in entries], dtype=np.float32)


@pytest.mark.parametrize("count", [1, 5, 100])
def test_images_are_those_of_the_package(count, image_search):
    queries = recorded("image")
    for found, query in zip(image_search.nearest(vectors_of(queries), count), queries, strict=True):
        expected = query["results"][str(count)]
        assert [
            {
                "index": int(hit.id),
                "url": hit.url,
                "entities": [
                    {"entity_name": entity.name, "entity_attributes": entity.infobox}
                    for entity in hit.entities
                ],
            }
            for hit in found
        ] == [{name: hit[name] for name in ("index", "url", "entities")} for hit in expected]
        assert [hit.score for hit in found] == pytest.approx(
            [hit["score"] for hit in expected], abs=SCORE_TOLERANCE
        )


@pytest.mark.parametrize("count", [1, 5, 100])
def test_pages_are_those_of_the_package(count, web_search):
    queries = recorded("text")
    for found, query in zip(web_search.nearest(vectors_of(queries), count), queries, strict=True):
        expected = query["results"][str(count)]
        assert [
            {
                "index": hit.id,
                "page_name": hit.name,
                "page_snippet": hit.snippet,
                "page_url": hit.url,
            }
            for hit in found
        ] == [{name: value for name, value in hit.items() if name != "score"} for hit in expected]
        assert [hit.score for hit in found] == pytest.approx(
            [hit["score"] for hit in expected], abs=SCORE_TOLERANCE
        )


def encoder_options() -> dict[str, EncoderOptions]:
    """Those of configs/retrieval/crag_mm.yaml, with the recorded tiny models."""
    bge, clip = str(GOLDEN / "models" / "bge"), str(GOLDEN / "models" / "clip")
    return {
        "text_encoder": EncoderOptions(
            name="sentence_transformers", model=bge, pooling=Pooling.mean, dimension=32
        ),
        "image_encoder": EncoderOptions(name="clip", model=clip, dimension=24),
    }


def test_image_vectors_are_those_of_the_package():
    vectors = open_image_encoder(encoder_options()["image_encoder"]).encode_image(image_queries())
    np.testing.assert_allclose(vectors, vectors_of(recorded("image")), atol=VECTOR_TOLERANCE)


@pytest.mark.slow  # the import of sentence-transformers takes seconds
def test_text_vectors_are_those_of_the_package():
    vectors = open_text_encoder(encoder_options()["text_encoder"]).encode_text(text_queries())
    np.testing.assert_allclose(vectors, vectors_of(recorded("text")), atol=VECTOR_TOLERANCE)


@pytest.mark.parametrize(
    ("kind", "queries"),
    [
        ("image", [Query.of_image(image) for image in image_queries()]),
        pytest.param(
            "text", [Query.of_text(text) for text in text_queries()], marks=pytest.mark.slow
        ),
    ],
)
def test_a_search_finds_what_the_package_finds(kind, queries, published, copies):
    """From images or texts to passages, with the same number asked of the index."""
    source = CragMMOptions(
        image_index=str(published / "image") if kind == "image" else None,
        web_index=str(published / "web") if kind == "text" else None,
        copies=str(copies),
        num_images=5,
        num_chunks=5,
    )
    crag_mm = RetrievalOptions(source=RetrievalSource.crag_mm, crag_mm=source, **encoder_options())
    found = open_searcher(crag_mm).search(queries, k=5)
    expected = [passages_of(query["results"]["5"]) for query in recorded(kind)]
    for passages, hits in zip(found, expected, strict=True):
        assert [passage.id for passage in passages] == list(hits)
        assert [passage.score for passage in passages] == pytest.approx(
            list(hits.values()), abs=SCORE_TOLERANCE
        )


def passages_of(result: list[dict]) -> dict[str, float]:
    """Id and score of the first five entities or pages in what the package returned."""
    found: dict[str, float] = {}
    for hit in result:
        for id in [one["entity_name"] for one in hit.get("entities", [])] or [hit["page_url"]]:
            found.setdefault(id, hit["score"])
    return dict(list(found.items())[:5])


@pytest.mark.slow
def test_more_rows_than_one_read_may_have(tmp_path):
    """chromadb 1.5 fails to read more than 32,766 rows at once; the images are some 68,000."""
    count = 33_000
    vectors = np.random.default_rng(0).standard_normal((count, 2), dtype=np.float32)
    with_names = [
        {"entities": f'"e{row}"', "info": f'{{"e{row}": {{"row": "{row}"}}}}'}
        for row in range(count)
    ]
    write_collection(
        tmp_path / "image",
        IMAGE_COLLECTION,
        ids=[str(row) for row in range(count)],
        vectors=vectors,
        metadatas=with_names,
        rows_per_write=5000,
    )
    search = ImageSearch(opened(IMAGE_COLLECTION, tmp_path / "image", tmp_path / "copies"))
    hits = [found[0] for found in search.nearest(vectors[::4000], 1)]
    assert [hit.score for hit in hits] == pytest.approx([1.0] * len(hits))
    for hit in hits:
        assert hit.entities == (Entity(name=f"e{hit.id}", infobox={"row": hit.id}),)


# the searcher


@pytest.fixture(scope="session")
def options(published, copies, clip_folder):
    """The recorded collections with encoders of their dimensions, which did not make them."""
    return RetrievalOptions(
        knowledge_base="",
        index="",
        source=RetrievalSource.crag_mm,
        text_encoder=EncoderOptions(name="hashed_ngrams", dimension=32),
        image_encoder=EncoderOptions(name="open_clip", model=str(clip_folder), dimension=24),
        crag_mm=CragMMOptions(
            image_index=str(published / "image"),
            web_index=str(published / "web"),
            copies=str(copies),
        ),
    )


@pytest.fixture(scope="session")
def searcher(options):
    found = open_searcher(options)
    assert isinstance(found, CragMMSearcher)
    return found


def queries_of_all_types() -> list[Query]:
    scene = picture(7, (80, 60))
    mask = np.zeros((60, 80), dtype=bool)
    mask[20:50, 10:40] = True
    return [
        Query.of_text("the harbour"),
        Query.of_image(picture(3)),
        Query.of_region(scene, mask),
        Query.of_text("a museum near the river"),
        Query.of_image(scene),
    ]


def test_mixed_batch_keeps_the_order_and_equals_single_searches(searcher):
    together = searcher.search(queries_of_all_types(), k=4)
    alone = [searcher.search([query], k=4)[0] for query in queries_of_all_types()]
    assert [[p.id for p in found] for found in together] == [
        [p.id for p in found] for found in alone
    ]
    for found in together:
        scores = [passage.score for passage in found]
        assert len({passage.id for passage in found}) == 4
        assert scores == sorted(scores, reverse=True)
    assert together[1] != together[2] != together[4]


def test_images_and_texts_are_encoded_once_each(searcher, monkeypatch):
    calls = []
    for name in ("_entities", "_pages"):
        side = getattr(searcher, name)
        counted = replace(side, encode=lambda q, s=side: calls.append(len(q)) or s.encode(q))
        monkeypatch.setattr(searcher, name, counted)
    searcher.search(queries_of_all_types())
    assert calls == [2, 3]


def test_an_entity_of_several_images_is_one_passage(searcher, options):
    """All seventeen entities come back, each with the score of its most similar image."""
    passages = searcher.search([Query.of_image(picture(3))], k=100)[0]
    vector = searcher._entities.encode([ImageQuery(image=picture(3))])
    best: dict[str, float] = {}
    for hit in searcher._entities.images.nearest(vector, 100)[0]:
        for entity in hit.entities:
            best.setdefault(entity.name, hit.score)
    assert {passage.id: passage.score for passage in passages} == best
    assert len(passages) == 17
    assert searcher.search([Query.of_image(picture(3))], k=2)[0] == passages[:2]


def test_more_is_asked_of_the_index_than_passages_are_returned(searcher, options):
    """Fifteen images show fewer than fifteen entities, and fifteen chunks are of fewer pages."""
    queries = [
        *(Query.of_image(picture(number)) for number in range(6)),
        *(Query.of_text(word) for word in ("river", "bridge", "lamp")),
    ]
    narrow = CragMMSearcher(
        replace(searcher._entities, num_images=1), replace(searcher._pages, num_chunks=1), options
    )
    assert [len(found) for found in searcher.search(queries, k=15)] == [15] * 9
    few = [len(found) for found in narrow.search(queries, k=15)]
    assert min(few[:6]) < 15
    assert min(few[6:]) < 15


def test_images_below_the_least_score_are_left_out(searcher, options):
    query = [Query.of_image(picture(3))]
    scores = [passage.score for passage in searcher.search(query, k=100)[0]]
    entities = replace(searcher._entities, min_score=scores[3])
    found = CragMMSearcher(entities, searcher._pages, options).search(query, k=100)[0]
    assert [passage.score for passage in found] == scores[
        : scores.index(scores[3]) + len(found) - 3
    ]
    assert all(passage.score >= scores[3] for passage in found)


def test_passages_hold_all_that_the_index_says(searcher):
    entities = {p.id: p for p in searcher.search([Query.of_image(picture(3))], k=100)[0]}
    assert entities["Tower of Nº 1"].text == "Tower of Nº 1"  # its last infobox is null
    bridge = entities["Wheel of Nº 3"]
    assert bridge.title == "Wheel of Nº 3"
    assert bridge.text.splitlines() == [
        "Wheel of Nº 3",
        "name: {{lang|la|Res 3}}",
        "built: {{start date|1937}}<br />",
        "height: {{convert|38|m|ft}}",
        "builder: Ilmarin & Søn",
        'coordinates: [37, "N"]',
    ]
    pages = {p.id: p for p in searcher.search([Query.of_text("castle")], k=100)[0]}
    assert pages["https://pages.example/castle"].text == (
        "The castle - Example\nA castle &amp; its <b>story</b>, page 8."
    )
    without_snippet = pages["https://pages.example/river"]
    assert without_snippet.title == without_snippet.text == "The river - Example"


def test_texts_without_words_find_nothing(searcher):
    assert searcher.search([]) == []
    assert (
        searcher.search([Query.of_text(""), Query.of_text(" \n"), Query.of_text("?")]) == [[]] * 3
    )


def test_texts_are_texts_whatever_they_look_like(searcher):
    """The package takes these for an address and for the name of an image's file."""
    found = searcher.search([Query.of_text("http status of a lamp"), Query.of_text(__file__)])
    assert [len(passages) for passages in found] == [5, 5]


def test_prefix_is_put_before_every_query(options, searcher):
    prefixed = replace(options.text_encoder, prefix="bridge bridge bridge ")
    without_images = replace(options.crag_mm, image_index=None)
    pages = CragMMSearcher.open(replace(options, text_encoder=prefixed, crag_mm=without_images))
    text = Query.of_text("river")
    assert pages.search([text]) != searcher.search([text])
    assert pages.search([text]) == searcher.search([Query.of_text("bridge bridge bridge river")])


def test_documents_that_are_encoded_already_get_no_prefix(options):
    prefixed = replace(options.text_encoder, document_prefix="passage: ")
    without_images = replace(options.crag_mm, image_index=None)
    with pytest.raises(ValueError, match="document_prefix='passage: ': CRAG-MM's documents are"):
        CragMMSearcher.open(replace(options, text_encoder=prefixed, crag_mm=without_images))


def test_info_changes_with_all_that_decides_what_is_found(searcher, options, published, copies):
    """Evaluation keeps answers by it; a server sends it to its clients."""
    info = searcher.info()
    assert SourceInfo.from_json(json.loads(json.dumps(info.to_json()))) == info
    assert info.num_documents == 40 + 60
    assert info.manifests["image"]["source"] == str(published / "image")
    few = replace(options, crag_mm=replace(options.crag_mm, num_images=3))
    assert CragMMSearcher.open(few).info().settings != info.settings
    alone = replace(options, crag_mm=replace(options.crag_mm, web_index=None))
    assert CragMMSearcher.open(alone).info().corpus_sha256 != info.corpus_sha256


def test_its_results_are_kept_too(searcher, options):
    queries = queries_of_all_types()
    cached = open_searcher(replace(options, cache_entries=100))
    expected = searcher.search(queries)
    assert [cached.search(queries), cached.search(queries)] == [expected] * 2
    assert cached.cache.counts().hits == len(queries)
    assert cached.info() == searcher.info()


# bad input


def test_a_side_that_is_not_there_is_refused(searcher, options):
    alone = CragMMSearcher(None, searcher._pages, options)
    with pytest.raises(ValueError, match=r"image_index=null.*policy.allow=\[text\]"):
        alone.search(queries_of_all_types())
    alone = CragMMSearcher(searcher._entities, None, options)
    with pytest.raises(ValueError, match=r"web_index=null.*policy.allow=\[image,region\]"):
        alone.search(queries_of_all_types())
    with pytest.raises(ValueError, match=r"set retrieval\.crag_mm\.image_index, web_index or both"):
        CragMMSearcher.open(RetrievalOptions(source=RetrievalSource.crag_mm))


def test_bad_queries(searcher, image_search):
    with pytest.raises(ValueError, match="k=0"):
        searcher.search(queries_of_all_types(), k=0)
    mask = np.zeros((32, 40), dtype=bool)
    with pytest.raises(ValueError, match="empty mask"):
        searcher.search([Query.of_region(picture(7), mask)])
    region = Query.of_region(picture(7), ~mask)
    with pytest.raises(ValueError, match="has no patches in the space of its images"):
        searcher.search([region], region_crop=RegionCrop.mask_pooled)
    with pytest.raises(ValueError, match=r"query's vector \(number 1\) is not finite"):
        image_search.nearest(np.array([[1.0] * 24, [np.nan] * 24], dtype=np.float32), 5)


def test_another_dimension_is_refused(options):
    wide = replace(options, text_encoder=EncoderOptions(name="hashed_ngrams", dimension=64))
    with pytest.raises(ValueError, match=r"32 dimensions, retrieval\.text_encoder makes 64"):
        CragMMSearcher.open(wide)


def truncated_database(folder):
    os.truncate(folder / "chroma.sqlite3", 100_000)


def no_database(folder):
    (folder / "chroma.sqlite3").write_bytes(b"not a database" * 500)


def vectors_of_collection(folder):
    return next(folder.glob("*/data_level0.bin"))


def truncated_vectors(folder):
    os.truncate(vectors_of_collection(folder), 9000)


def missing_vectors(folder):
    vectors_of_collection(folder).unlink()


def missing_database(folder):
    (folder / "chroma.sqlite3").unlink()


def missing_folder(folder):
    shutil.rmtree(folder)


def missing_collection(folder):
    shutil.rmtree(folder)
    vectors = np.eye(4, dtype=np.float32)
    metadatas = [image_metadata(row) for row in range(4)]
    write_collection(folder, "other", ids=list("0123"), vectors=vectors, metadatas=metadatas)


def empty_collection(folder):
    shutil.rmtree(folder)
    write_image_collection(folder, np.empty((0, 4), dtype=np.float32))


def euclidean_collection(folder):
    shutil.rmtree(folder)
    metadatas = [image_metadata(row) for row in range(4)]
    write_collection(
        folder,
        IMAGE_COLLECTION,
        ids=list("0123"),
        vectors=np.eye(4, dtype=np.float32),
        metadatas=metadatas,
        space="l2",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (truncated_database, r"cannot be read \(.*malformed.*to have it copied anew"),
        (no_database, r"cannot be read \(.*not a database.*to have it copied anew"),
        (truncated_vectors, r"data_level0.bin has 9,000 bytes, too few for 40 vectors of 236"),
        (missing_vectors, r"cannot be read \(.*hnsw index"),
        (missing_database, r"has no chroma.sqlite3: it is not an index of CRAG-MM's search"),
        (missing_folder, r"is no folder, and as a data set of the Hugging Face hub"),
        (
            missing_collection,
            r"has no collection image_embeddings, but other: are retrieval",
        ),
        (empty_collection, r"is empty: fetch it again"),
        (euclidean_collection, r"scores a vector .* CRAG-MM's collections measure by cosine"),
    ],
)
def test_bad_collections(change, message, published, tmp_path):
    source = tmp_path / "image"
    shutil.copytree(published / "image", source)
    change(source)
    with pytest.raises(ValueError, match=message) as told:
        opened(IMAGE_COLLECTION, source, tmp_path / "copies")
    assert "\n" not in str(told.value)


def with_metadata(folder: Path, changes: dict[int, dict]) -> Path:
    """A collection of four images whose metadata differ."""
    metadatas = [image_metadata(row) | changes.get(row, {}) for row in range(4)]
    vectors = np.eye(4, dtype=np.float32)
    write_collection(
        folder, IMAGE_COLLECTION, ids=list("0123"), vectors=vectors, metadatas=metadatas
    )
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"info": "{"}, "image 2 of the collection image_embeddings .* no readable 'info'"),
        ({"info": '["a"]'}, "no readable 'info'"),
        ({"info": '{"a": "b"}'}, "no readable 'info'"),
        ({"entities": "[1]"}, "no readable 'entities'"),
        ({"entities": 1}, "no readable 'entities'"),
    ],
)
def test_images_with_broken_metadata(change, message, tmp_path):
    source = with_metadata(tmp_path / "image", {2: change})
    with pytest.raises(ValueError, match=message):
        ImageSearch(opened(IMAGE_COLLECTION, source, tmp_path / "copies"))


def test_entities_without_any_infobox_are_told(tmp_path, caplog):
    """The package would end with a KeyError when a search finds one."""
    source = with_metadata(tmp_path / "image", {1: {"entities": '["Nowhere", "Tower of Nº 1"]'}})
    with caplog.at_level(logging.WARNING):
        search = ImageSearch(opened(IMAGE_COLLECTION, source, tmp_path / "copies"))
    assert "1 entities of the collection" in caplog.text
    assert "the first being 'Nowhere' of image 1" in caplog.text
    hit = search.nearest(np.eye(4, dtype=np.float32)[1:2], 1)[0][0]
    assert hit.entities[0].passage(hit.score).text == "Nowhere"


def test_pages_without_any_text_are_their_address(tmp_path):
    metadatas = [{"page_url": "https://pages.example/a"}, {"page_name": "B", "page_snippet": ""}]
    write_collection(
        tmp_path / "web",
        WEB_COLLECTION,
        ids=["a_chunk_0", "b_chunk_0"],
        vectors=np.eye(2, dtype=np.float32),
        metadatas=metadatas,
    )
    search = WebSearch(opened(WEB_COLLECTION, tmp_path / "web", tmp_path / "copies"))
    passages = [hits[0].passage() for hits in search.nearest(np.eye(2, dtype=np.float32), 1)]
    assert [(passage.id, passage.title, passage.text) for passage in passages] == [
        ("https://pages.example/a", "", "https://pages.example/a"),
        ("b_chunk_0", "B", "B"),
    ]


# private copies


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_source_is_never_written_to_and_needed_once(published, tmp_path):
    source = tmp_path / "image"
    shutil.copytree(published / "image", source)
    for path in [*source.rglob("*"), source]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = contents(source)
    first = ImageSearch(opened(IMAGE_COLLECTION, source, tmp_path / "copies"))
    vectors = vectors_of(recorded("image"))
    found = first.nearest(vectors, 3)
    assert contents(source) == before
    copy = tmp_path / "copies" / str(source).strip("/").replace("/", "--")
    assert all(path.stat().st_mode & 0o200 for path in copy.rglob("*"))
    assert json.loads((copy / "copied_from.json").read_text())["chromadb"] == installed_chromadb()
    source.rename(tmp_path / "elsewhere")
    again = ImageSearch(opened(IMAGE_COLLECTION, source, tmp_path / "copies"))
    assert again.nearest(vectors, 3) == found
    assert again.collection.stamp.sha256 == first.collection.stamp.sha256


def test_a_killed_copy_is_made_again(published, tmp_path, monkeypatch):
    def killed(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", killed)
        with pytest.raises(KeyboardInterrupt):
            opened(IMAGE_COLLECTION, published / "image", tmp_path)
    assert len(opened(IMAGE_COLLECTION, published / "image", tmp_path)) == 40


def test_data_sets_of_the_hub_are_found_in_its_cache(published, tmp_path, monkeypatch):
    """Offline, in the form in which the hub's library keeps them: links to files by their hash."""
    commit = "19b5f4dca7218b0231b59e2c3da74da73b6acad7"
    cache = tmp_path / "hub" / "datasets--owner--index"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(commit)
    (cache / "blobs").mkdir()
    for number, path in enumerate(sorted((published / "image").rglob("*.*"))):
        shutil.copyfile(path, cache / "blobs" / str(number))
        link = cache / "snapshots" / commit / path.relative_to(published / "image")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(cache / "blobs" / str(number))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    collection = opened(IMAGE_COLLECTION, Path("owner/index"), tmp_path / "copies")
    assert (len(collection), collection.stamp.revision) == (40, commit)
    assert "owner/index" in collection.label.replace("--", "/")
    with pytest.raises(ValueError, match=r"owner/index \(revision v0.6\) is no folder"):
        opened(IMAGE_COLLECTION, Path("owner/index"), tmp_path / "copies", revision="v0.6")


def newer_chromadb(stamp):
    return stamp | {"chromadb": "99.0"}


def other_source(stamp):
    return stamp | {"source": "owner/other"}


def older_stamp(stamp):
    return {"source": stamp["source"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (newer_chromadb, r"chromadb 99.0 has opened .* is installed.*it is copied anew"),
        (other_source, r"is a copy of owner/other, not of .*set another retrieval.crag_mm.copies"),
        (older_stamp, r"copied_from.json is missing or broken: delete .*it is copied anew"),
    ],
)
def test_copies_that_do_not_fit(change, message, published, tmp_path):
    source = str(published / "image")
    with private_copy(source, None, tmp_path) as copy:
        stamp = copy.folder / "copied_from.json"
    stamp.write_text(json.dumps(change(json.loads(stamp.read_text()))))
    with pytest.raises(ValueError, match=message):
        opened(IMAGE_COLLECTION, published / "image", tmp_path)


def test_no_room_no_revision_of_a_folder_no_chromadb(published, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"is a folder and has no revision v0.6"):
        opened(IMAGE_COLLECTION, published / "image", tmp_path, revision="v0.6")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(ValueError, match=r"takes 2\d\d,\d\d\d bytes and .* has 1,000"):
            opened(IMAGE_COLLECTION, published / "image", tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"chromadb is not installed; run `make setup"):
        opened(IMAGE_COLLECTION, published / "image", tmp_path)


# processes


def told_in_a_child(search: ImageSearch, pipe) -> None:
    try:
        search.nearest(np.ones((1, 24), dtype=np.float32), 1)
    except ValueError as error:
        pipe.send(str(error))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_refused_instead_of_hanging(image_search):
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=told_in_a_child, args=(image_search, there), daemon=True)
    child.start()
    try:
        assert here.poll(30), "the child hangs"
        assert "start processes by spawn and open it in each" in here.recv()
    finally:
        child.kill()
        child.join()


def test_one_at_a_time_copies_and_opens(published, tmp_path):
    """Two would copy to one place, or fail at changing the same old database."""
    source, entered = str(published / "image"), threading.Event()

    def enter():
        with private_copy(source, None, tmp_path):
            entered.set()

    other = threading.Thread(target=enter)
    with private_copy(source, None, tmp_path):
        other.start()
        assert not entered.wait(0.3)
    assert entered.wait(30)
    other.join()


@pytest.mark.slow
def test_spawned_processes_may_all_be_the_first_to_open(published, tmp_path):
    context = multiprocessing.get_context("spawn")
    vectors = vectors_of(recorded("image"))
    with context.Pool(3) as pool:
        found = pool.starmap(nearest_ids, [(published / "image", tmp_path, vectors)] * 3)
    expected = [[str(hit["index"]) for hit in q["results"]["5"]] for q in recorded("image")]
    assert found == [expected] * 3
