"""Documents in chunks: what an image finds is a document, what comes back is one of its chunks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixsearch.config import EncoderOptions, FromDocument, RetrievalOptions, TextSearch
from pixsearch.queries import Query
from pixsearch.retrieval.build import build_indexes
from pixsearch.retrieval.crops import MEAN_COLOUR
from pixsearch.retrieval.index import VectorIndex
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from pixsearch.retrieval.searcher import Searcher

from .conftest import draw_thing, things, write_corpus

CHUNKS = (
    "The {name} is a {shape} painted {colour}.",
    "It is carved from walnut by patient craftsmen of the northern valley.",
    "A museum in Tarnwick bought the largest specimen for nine thousand crowns.",
)
MATERIAL = "what wood is it carved from?"
MUSEUM = "which museum bought it?"


def write_chunks(folder: Path, num_documents: int = 5) -> Path:
    """Documents of three chunks each, the last of a single one; a picture on every lead."""
    (folder / "images").mkdir(parents=True)
    records = []
    for number, (name, colour, shape) in enumerate(things()[:num_documents]):
        path = f"images/{number}.png"
        draw_thing(colour, shape, MEAN_COLOUR).save(folder / path)
        texts = CHUNKS if number < num_documents - 1 else CHUNKS[:1]
        for chunk, text in enumerate(texts):
            records.append(
                {
                    "id": f"e{number}#{chunk}",
                    "document": f"e{number}",
                    "chunk": chunk,
                    "title": name,
                    "contents": text.format(name=name, colour=colour, shape=shape),
                    **({"images": [path]} if chunk == 0 else {}),
                }
            )
    return write_corpus(folder, records)


@pytest.fixture(scope="module")
def chunked(tmp_path_factory, clip_folder) -> RetrievalOptions:
    root = tmp_path_factory.mktemp("chunked")
    options = RetrievalOptions(
        knowledge_base=str(write_chunks(root / "knowledge_base")),
        index=str(root / "index"),
        text_encoder=EncoderOptions(name="hashed_ngrams", dimension=512),
        image_encoder=EncoderOptions(name="open_clip", model=str(clip_folder), dimension=24),
        from_document=FromDocument.nearest,
    )
    build_indexes(options, progress=False)
    build_indexes(replace(options, text_search=TextSearch.bm25), progress=False)
    return options


@pytest.fixture(scope="module", params=["dense", "bm25"])
def searcher(chunked, request) -> Searcher:
    return Searcher.open(replace(chunked, text_search=TextSearch(request.param)))


def picture(number: int):
    _, colour, shape = things()[number]
    return draw_thing(colour, shape, (66, 66, 66))


def asked(number: int, question: str | None) -> Query:
    return Query.of_image(picture(number), question=question)


def found_ids(searcher: Searcher, *queries: Query, k: int = 1) -> list[list[str]]:
    return [[passage.id for passage in passages] for passages in searcher.search(queries, k=k)]


def test_the_chunk_nearest_to_the_question(searcher):
    found = found_ids(searcher, asked(0, MATERIAL), asked(0, MUSEUM), asked(3, MUSEUM))
    assert found == [["e0#1"], ["e0#2"], ["e3#2"]]


@pytest.mark.parametrize("question", [None, " ", "???"])
def test_without_a_question_the_lead(searcher, question):
    assert found_ids(searcher, asked(1, question)) == [["e1#0"]]


def test_without_a_word_in_common_the_lead(chunked):
    by_words = Searcher.open(replace(chunked, text_search=TextSearch.bm25))
    assert found_ids(by_words, asked(1, "xyzzy plugh")) == [["e1#0"]]


def test_a_document_of_one_chunk_returns_it(searcher):
    assert found_ids(searcher, asked(4, MUSEUM)) == [["e4#0"]]


def test_region_queries_too(searcher):
    image = picture(2)
    mask = np.ones((image.height, image.width), dtype=bool)
    query = Query.of_region(image, mask, question=MATERIAL)
    assert found_ids(searcher, query) == [["e2#1"]]


def test_lead_ignores_the_question(chunked):
    searcher = Searcher.open(replace(chunked, from_document=FromDocument.lead))
    queries = [asked(number, MUSEUM) for number in range(5)]
    assert found_ids(searcher, *queries) == [[f"e{number}#0"] for number in range(5)]


def test_every_document_once_in_the_images_order_with_the_images_scores(searcher, chunked):
    by_lead = Searcher.open(replace(chunked, from_document=FromDocument.lead))
    queries = [asked(number, MUSEUM) for number in range(5)]
    for near, lead in zip(searcher.search(queries, k=5), by_lead.search(queries, k=5), strict=True):
        assert [p.id.split("#")[0] for p in near] == [p.id.split("#")[0] for p in lead]
        assert [p.score for p in near] == [p.score for p in lead]
        assert len({p.id for p in near}) == 5


def test_a_text_query_finds_chunks_by_itself(searcher):
    query = Query.of_text("Vexlin walnut carved craftsmen")
    assert found_ids(searcher, query) == [["e0#1"]]


def test_mixed_queries_equal_single_ones(searcher):
    queries = [asked(0, MUSEUM), Query.of_text("Orbander"), asked(1, None), asked(2, MATERIAL)]
    assert found_ids(searcher, *queries, k=3) == [
        found_ids(searcher, query, k=3)[0] for query in queries
    ]


def test_questions_about_whole_documents_are_not_encoded(built, monkeypatch):
    searcher = Searcher.open(replace(built, from_document=FromDocument.nearest))
    encoded = []
    index = searcher._text_index
    counting = replace(index, encode=lambda texts: encoded.append(texts) or index.encode(texts))
    monkeypatch.setattr(searcher, "_text_index", counting)
    assert found_ids(searcher, asked(0, MUSEUM)) == [["e0"]]
    assert encoded == []


@pytest.mark.parametrize("factory", ["Flat", "SQ8", "IVF2,Flat", "HNSW8", "IVF2,Flat,Refine(SQ8)"])
def test_an_index_compares_with_what_it_holds(factory):
    vectors = np.random.default_rng(0).standard_normal((80, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = VectorIndex.build(vectors, np.arange(80), factory=factory)
    rows = [79, 3, 3, 40]
    assert index.scores(vectors[3], rows) == pytest.approx(vectors[rows] @ vectors[3], abs=0.02)


def test_chunks_of_a_row(chunked):
    knowledge_base = KnowledgeBase(chunked.knowledge_base)
    assert [knowledge_base.chunk_rows(row) for row in (0, 1, 2)] == [range(3)] * 3
    assert knowledge_base.chunk_rows(12) == range(12, 13)
    assert knowledge_base["e1#2"].document == "e1"


def test_whole_documents_are_their_own_lead(built):
    knowledge_base = KnowledgeBase(built.knowledge_base)
    assert knowledge_base.chunk_rows(3) == range(3, 4)
    assert (knowledge_base["e3"].document, knowledge_base["e3"].chunk) == ("e3", 0)


LEAD = {"id": "a#0", "document": "a", "chunk": 0, "contents": "x"}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"document": "a", "chunk": 2}, r":2: chunk 2 of 'a' does not follow its chunk 1"),
        ({"document": "b", "chunk": 1}, r":2: chunk 1 of 'b' does not follow its chunk 0"),
        ({"document": "a", "chunk": 1, "images": ["i.png"]}, r":2: images of chunk 1"),
        ({"document": "a"}, ":2: chunk is missing"),
        ({"chunk": 1}, ":2: document is missing"),
        ({"document": "a", "chunk": -1}, ":2: chunk is -1"),
        ({"document": "a", "chunk": True}, ":2: chunk is True"),
        ({"document": " ", "chunk": 1}, ":2: document is ' '"),
    ],
)
def test_stray_chunks_are_named(tmp_path, second, message):
    write_corpus(tmp_path, [LEAD, {"id": "second", "contents": "x", **second}])
    with pytest.raises(ValueError, match=message) as caught:
        KnowledgeBase(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_document_ends_where_another_begins(tmp_path):
    """Even one of the same name: the numbers say so."""
    lines = [LEAD, LEAD | {"id": "again"}, {**LEAD, "id": "a#1", "chunk": 1}]
    knowledge_base = KnowledgeBase(write_corpus(tmp_path, lines))
    assert knowledge_base.chunk_rows(0) == range(1)
    assert knowledge_base.chunk_rows(2) == range(1, 3)
