"""The benchmark's pipeline as a searcher: it answers here what was recorded of the real one."""

import json
from pathlib import Path

import numpy as np
import pytest

from pixsearch.config import CragMMOptions, EncoderOptions, RetrievalOptions
from pixsearch.queries import Query, SearchFailed
from pixsearch.retrieval.crag_mm.given_pipeline import PipelineSearcher
from tests.golden.crag_mm.synthetic import image_queries, text_queries

GOLDEN = Path(__file__).parents[1] / "golden" / "crag_mm"
RECORDED = json.loads((GOLDEN / "hits.json").read_text(encoding="utf-8"))
IMAGES = [entry for entry in RECORDED if "image" in entry]
TEXTS = [entry for entry in RECORDED if "text" in entry]


def pipeline(query, k):
    """The real one's hits: for a vector those of the nearest recorded one, for a text its own."""
    if isinstance(query, str):
        assert query.startswith(" ")  # else an address or a file would be taken for an image
        return TEXTS[text_queries().index(query[1:])]["results"][str(k)]
    nearest = max(IMAGES, key=lambda entry: float(np.dot(entry["vector"], query)))
    return nearest["results"][str(k)]


def opened(asked=pipeline) -> PipelineSearcher:
    clip = EncoderOptions(name="clip", model=str(GOLDEN / "models" / "clip"), dimension=24)
    source = CragMMOptions(num_images=5, num_chunks=5)
    options = RetrievalOptions(knowledge_base="", index="", image_encoder=clip, crag_mm=source)
    return PipelineSearcher(asked, options)


def test_passages_are_the_entities_and_pages_of_the_hits():
    image, text = Query.of_image(image_queries()[1]), Query.of_text(text_queries()[0])
    whole = np.ones((image.image.height, image.image.width), dtype=bool)
    region = Query.of_region(image.image, whole)
    by_image, by_text, by_region, nothing = opened().search(
        [image, text, region, Query.of_text(" ")], k=3
    )
    hits = IMAGES[1]["results"]["5"]
    names = [one["entity_name"] for hit in hits for one in hit["entities"]]
    assert [found.id for found in by_image] == list(dict.fromkeys(names))[:3]
    assert by_image[0].score == hits[0]["score"]
    assert by_image[0].text.startswith(by_image[0].title)
    assert [found.id for found in by_text] == [
        hit["page_url"] for hit in TEXTS[0]["results"]["5"][:3]
    ]
    assert len(by_region) > 0
    assert nothing == []


def test_a_pipeline_without_texts_is_a_failed_search():
    def image_only(query, k):
        raise ValueError("the web part is off")

    with pytest.raises(SearchFailed, match="given search pipeline: the web part is off"):
        opened(image_only).search([Query.of_text("a")])


def test_other_hits_are_a_failed_search():
    with pytest.raises(SearchFailed, match="no hits of CRAG-MM"):
        opened(lambda query, k: [{"index": 1}]).search([Query.of_text("a")])
