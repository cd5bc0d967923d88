import json
import re
from dataclasses import replace

import pytest

from pixsearch.config import EncoderOptions, PolicyOptions, RetrievalOptions
from pixsearch.datasets.masks import encode_rle
from pixsearch.evaluation.prediction import GroundedPhrase
from pixsearch.evaluation.report import write_report
from pixsearch.evaluation.report_curves import curves
from pixsearch.evaluation.score import write_results
from pixsearch.queries import QueryType
from tests.evaluation.test_score import AFTER, save
from tests.evaluation.worlds import benchmark, box, prediction, query

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder, world = tmp_path_factory.mktemp("report"), benchmark()
    a, b, c, d = world.samples
    grounded = (GroundedPhrase(phrase="the cup", mask=encode_rle(box(2, 2, 8, 8))),)
    shown = [
        replace(prediction(a, EVIL, query("e1", "e2")), grounded=grounded),
        prediction(b, "Osmeth", query("e1", kind=QueryType.TEXT)),
        prediction(c, "three", query("e2", kind=QueryType.IMAGE)),
        prediction(d, "I don't know"),
    ]
    save(folder, world, {"full": shown, "whole_image": shown})
    base = folder / "knowledge_base"
    base.mkdir()
    documents = [{"id": f"e{n}", "title": f"Thing {n}", "contents": EVIL} for n in (1, 2)]
    (base / "corpus.jsonl").write_text("".join(json.dumps(each) + "\n" for each in documents))
    step = {"loss": 3.0, "language": 2.0, "mask_bce": 1.0, "mask_overlap": 0.5}
    for name in ("metrics.jsonl", "held_out.jsonl"):
        lines = (json.dumps({"step": number, **step}) + "\n" for number in (1, 2))
        (folder / name).write_text("".join(lines))
    path = write_report(
        folder,
        write_results(folder, world, span=AFTER),
        world,
        policy=PolicyOptions(),
        retrieval=RetrievalOptions(
            knowledge_base=str(base), text_encoder=EncoderOptions(), image_encoder=EncoderOptions()
        ),
        training={"ground": folder, "search": folder / "never_run"},
    )
    assert path == folder / "report" / "index.html"
    return path.read_text()


def test_it_refers_to_nothing_outside_itself(html):
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", html)
    assert "url(" not in html
    assert "<link" not in html


def test_what_comes_from_outside_is_escaped(html):
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_every_trajectory_is_there_with_its_pictures(html):
    assert html.count("<article>") == 4
    assert html.count("data:image/jpeg;base64,") == 4 + 2  # images; a region's crop, a whole image
    assert 'class="gold"' in html
    assert "grounded: the cup" in html


def test_the_paper_stands_beside_and_the_curves_are_drawn(html):
    assert "37.7" in html
    assert html.count("<polyline") == 4 * 2
    assert "search: no metrics" in html


def test_the_answers_of_other_policies_stand_beside(html):
    assert html.count("whole_image: <span") == 4


def test_a_flat_curve_is_drawn_within_the_frame():
    drawn = curves("flat", {"training": [(1.0, 2.0), (1.0, 2.0)]})
    numbers = [float(x) for x in re.search('points="([^"]*)"', drawn)[1].replace(",", " ").split()]
    assert all(0 <= number <= 380 for number in numbers)
