import json
import re
from dataclasses import replace

import pytest

from pixsearch.config import QueryType, RegionCrop, RetrievalOptions
from pixsearch.datasets.masks import encode_rle
from pixsearch.evaluation.paper_tables.figures import loss_figure
from pixsearch.evaluation.prediction import GroundedPhrase
from pixsearch.evaluation.report import write_report
from pixsearch.evaluation.report_trajectories import TrajectoryView
from pixsearch.evaluation.score import write_results
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from tests.commands import run_script_here
from tests.evaluation.question_worlds import picture, session, write_sessions
from tests.evaluation.test_score import AFTER, save
from tests.evaluation.worlds import benchmark, box, prediction, query, sample

KINDS = ("counting", "label", "yes_no", "attribute")
EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder, world = tmp_path_factory.mktemp("report"), benchmark()
    a, b, c, d = world.samples
    grounded = (GroundedPhrase(phrase="the cup", mask=encode_rle(box(2, 2, 8, 8))),)
    shown = [
        replace(prediction(a, EVIL, query("e1", "e2")), grounded=grounded),
        prediction(b, "Osmeth", query("e1", kind=QueryType.text)),
        prediction(c, "three", query("e2", kind=QueryType.image)),
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
        knowledge_base=base,
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


def test_places_are_kept_for_answers_with_masks_and_crops(tmp_path):
    grounded = (GroundedPhrase(phrase="the cup", mask=encode_rle(box(2, 2, 8, 8))),)
    searched = [sample(f"searched-{number}") for number in range(30)]
    others = [
        sample(f"{kind}-{number}", question_type=kind) for kind in KINDS for number in range(12)
    ]
    predictions = {each.id: prediction(each, "no") for each in others} | {
        each.id: replace(prediction(each, "Osmeth", query("e1")), grounded=grounded)
        for each in searched
    }
    predictions |= {each.id: prediction(each, "Osmeth") for each in others[::2]}
    document = {"id": "e1", "title": "Thing", "contents": "It is a thing."}
    (tmp_path / "corpus.jsonl").write_text(json.dumps(document) + "\n")
    view = TrajectoryView(
        KnowledgeBase(str(tmp_path)),
        crop=RegionCrop.masked_crop,
        retrieval=RetrievalOptions(),
        name="full",
        rivals={},
        span=AFTER,
    )
    chosen = view.choose([*others, *searched], predictions, most=36, complete=24)
    assert len(chosen) == 36
    assert sum(each in searched for each in chosen) == 24
    unsearched = [each for each in chosen if each in others]
    assert {each.gold.question_type for each in unsearched} == set(KINDS)
    assert {predictions[each.id].verdict for each in unsearched} == {"correct", "hallucination"}


def test_the_paper_stands_beside_and_pictures_are_drawn(html):
    assert "37.7" in html
    assert html.count("data:image/png;base64,") == 2  # how it searched; losses of one stage
    assert "search: no metrics" in html


def test_the_answers_of_other_policies_stand_beside(html):
    assert html.count("whole_image: <span") == 4


def test_slices_have_their_own_figures(html):
    assert "<td>question_type: factoid</td>" in html
    assert "<td>scene_kind: non_egocentric</td>" in html


def test_losses_are_drawn_where_there_are_metrics(tmp_path):
    step = {"loss": 3.0, "language": 2.0, "mask_bce": 1.0, "mask_overlap": 0.5}
    for name, steps in (("metrics", 900), ("held_out", 2)):
        lines = (json.dumps({"step": number, **step}) + "\n" for number in range(steps))
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    panels = loss_figure({"ground": tmp_path, "search": tmp_path / "never_run"}).axes
    drawn = [sum(len(line.get_xdata()) > 0 for line in axes.lines) for axes in panels]
    assert drawn == [2] * 4 + [0] * 4
    training, held_out = panels[1].lines
    assert set(training.get_ydata()) == {2.0}
    assert (len(training.get_xdata()), len(held_out.get_xdata())) == (300, 2)


def test_a_report_of_another_benchmark_is_refused_in_one_line(tmp_path):
    root = write_sessions(tmp_path, [session("a", "What is it?", image=picture())])
    data = (f"benchmark.root={root}", "benchmark.split=validation", "benchmark.tokenizer=none")
    done = run_script_here(
        "report", "benchmark=crag_mm_single", *data, f"output_dir={tmp_path}/output"
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "the report is the miniature's; scripts/make_table.py composes tables" in done.stderr
    assert not (tmp_path / "output").exists()
