"""CRAG-MM's search indexes: what its own package found in them (tests/golden/crag_mm), and more."""

import importlib.util
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from pixsearch.retrieval.crag_mm import entities, pages
from pixsearch.retrieval.crag_mm.collection import open_collection
from pixsearch.retrieval.crag_mm.entities import ImageSearch
from pixsearch.retrieval.crag_mm.pages import WebSearch

GOLDEN = Path(__file__).parents[1] / "golden" / "crag_mm"
SCORE_TOLERANCE = 1e-6  # of Chroma's fp32 distances

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("chromadb") is None, reason="make setup EXTRAS=cpu,dev,crag_mm"
)


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


@pytest.fixture(scope="session")
def image_search(published, copies):
    source = str(published / "image")
    collection = open_collection(entities.COLLECTION, source=source, revision=None, copies=copies)
    return ImageSearch(collection, rows_per_read=7)


@pytest.fixture(scope="session")
def web_search(published, copies):
    source = str(published / "web")
    return WebSearch(open_collection(pages.COLLECTION, source=source, revision=None, copies=copies))


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
