"""The main job in its smallest form, by the command that users give. Nothing is learned."""

import json
from pathlib import Path

import pytest

from pixsearch.datasets.files import JsonLines
from pixsearch.generation.infer import infer
from tests.commands import run_demo
from tests.test_configs import composed

pytestmark = pytest.mark.slow

SHARES = ("accuracy", "missing", "hallucination")


def test_results_and_report_are_there(finished_demo: Path) -> None:
    results = json.loads((finished_demo / "results.json").read_text())
    assert results["seed"] == 3
    assert set(results["segmentation"]) >= {"giou", "ciou"}
    assert set(results["search_decision"]) >= {"precision", "recall"}
    assert set(results["policies"]) == {"no_search", "whole_image", "full"}
    for scores in results["policies"].values():
        overall = scores["overall"]
        assert abs(sum(overall[share] for share in SHARES) - 1) < 1e-9
    report = (finished_demo / "report" / "index.html").read_text()
    assert "<html" in report


def test_one_question_is_answered_with_the_finished_model(
    finished_demo: Path, tmp_path: Path
) -> None:
    run = finished_demo / "runs" / "seed3-smoke"
    options = composed(
        "infer",
        "retrieval=miniature",
        "policy=whole_image",
        f"paths.miniature={run}",
        f"checkpoint={run}/search/final",
        f"image={run}/world/images/eval-00000.png",
        "question='Who made the boat?'",
        f"output_dir={tmp_path}",
    )
    trajectory = infer(options)
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["question"] == "Who made the boat?"
    assert answer["answer"] == trajectory.answer_text
    (search,) = answer["searches"]
    assert (search["type"], search["forced"], len(search["passages"])) == ("image", True, 5)
    assert len(list(tmp_path.glob("mask-*.png"))) == len(answer["phrases"])


def test_predictions_can_be_read_by_people(finished_demo: Path) -> None:
    results = json.loads((finished_demo / "results.json").read_text())
    for policy, scores in results["policies"].items():
        lines = JsonLines(finished_demo / "predictions" / f"{policy}.jsonl")
        assert len(lines) >= scores["overall"]["n"]
        assert all({"question", "gold", "answer", "verdict"} <= line.keys() for line in lines)
        asked = [query for line in lines for query in line["queries"]]
        assert all({"type", "text", "passage_ids"} <= query.keys() for query in asked)
        assert bool(asked) == (policy != "no_search") or policy == "full"


def test_a_second_demo_reuses_what_is_done(finished_demo: Path) -> None:
    files = [path for path in (finished_demo / "runs").rglob("*") if path.is_file()]
    kept = [path for path in files if path.suffix in (".safetensors", ".faiss", ".parquet")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    predicted = {path: path.read_bytes() for path in files if path.suffix == ".jsonl"}
    assert run_demo(finished_demo).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert {path: path.read_bytes() for path in predicted} == predicted  # `seconds` among them
    assert not list(finished_demo.rglob("superseded"))
