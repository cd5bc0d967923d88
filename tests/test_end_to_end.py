"""The main job in its smallest form, by the command that users give. Nothing is learned."""

import json
from pathlib import Path

import pytest

from pixsearch.datasets.files import JsonLines
from pixsearch.generation.infer import infer
from pixsearch.miniature.templates import DONT_KNOW
from tests.commands import run_demo
from tests.test_configs import composed

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


def test_trajectories_end_with_what_their_evidence_says(finished_demo: Path) -> None:
    world = finished_demo / "runs" / "seed3-smoke" / "world"
    questions = {each["id"]: each for each in JsonLines(world / "questions" / "train.jsonl")}
    evaluated = {each["id"] for each in JsonLines(world / "knowledge_base" / "corpus.jsonl")}
    evaluated -= {each["id"] for each in JsonLines(world / "knowledge_base_train" / "corpus.jsonl")}
    num_forced = num_beside_label = 0
    for trajectory in JsonLines(world / "trajectories" / "train.jsonl"):
        name = trajectory["id"].removesuffix("-misled").removesuffix("-beside-label")
        question = questions[name.split("-forced-")[0]]
        parts = trajectory["messages"][-1]["parts"]
        searches = [part["search"] for part in parts if "search" in part]
        found = [{passage["id"] for passage in search["passages"]} for search in searches]
        is_forced = "-forced-" in trajectory["id"]
        assert all(search["supervised"] is not is_forced for search in searches)
        assert evaluated.isdisjoint(set().union(*found))
        wanted = [step["entity_id"] for step in question["steps"]]
        if not is_forced:
            supported = [id in ids for id, ids in zip(wanted, found, strict=False)]
            assert all(supported[:-1])  # it ends at the first search that brings nothing
            is_whole = len(found) == len(wanted) and all(supported)
            assert parts[-1]["text"] == (question["answer"] if is_whole else DONT_KNOW)
        num_forced += is_forced
        num_beside_label += trajectory["id"].endswith("-beside-label")
    assert num_forced > 0
    assert num_beside_label > 0


def test_forced_searches_of_cluttered_pictures_occur_several_times(finished_demo: Path) -> None:
    """In the searcher's order where they are needed, with anything at all where they are not."""
    world = finished_demo / "runs" / "seed3-smoke" / "world"
    questions = {each["id"]: each for each in JsonLines(world / "questions" / "train.jsonl")}
    orders: dict[str, list[list[str]]] = {}
    for trajectory in JsonLines(world / "trajectories" / "train.jsonl"):
        question, _, _ = trajectory["id"].rpartition("-forced-image-")
        if question:
            search = next(p["search"] for p in trajectory["messages"][-1]["parts"] if "search" in p)
            ids = [passage["id"] for passage in search["passages"]]
            orders.setdefault(question, []).append(ids)
    repeated = {name: each for name, each in orders.items() if len(each) > 1}
    needed = {name for name in repeated if questions[name]["steps"]}
    assert needed
    assert len(needed) < len(repeated)
    for name, each in repeated.items():
        assert all(ids == each[0] for ids in each) == (name in needed)


@pytest.mark.slow
def test_a_second_demo_reuses_what_is_done(finished_demo: Path) -> None:
    files = [path for path in (finished_demo / "runs").rglob("*") if path.is_file()]
    kept = [path for path in files if path.suffix in (".safetensors", ".faiss", ".parquet")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    predicted = {path: path.read_bytes() for path in files if path.suffix == ".jsonl"}
    assert run_demo(finished_demo).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert {path: path.read_bytes() for path in predicted} == predicted  # `seconds` among them
    assert not list(finished_demo.rglob("superseded"))
