"""CRAG-MM's three tasks from parquet to results.json and the official files."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pixsearch.config import (
    BenchmarkOptions,
    CragMMProtocol,
    EvaluateOptions,
    PolicyOptions,
    QueryType,
    RetrievalOptions,
    RetrievalSource,
)
from pixsearch.datasets.masks import encode_rle
from pixsearch.evaluation import Workbench, evaluate, open_benchmark
from pixsearch.evaluation.benchmarks.crag_mm import EXCLUDED_SESSIONS, is_egocentric
from pixsearch.evaluation.conversations import conversation_figures, count_turns
from pixsearch.evaluation.gold_boxes import read_gold_boxes, region_figures
from pixsearch.evaluation.verdicts import JudgedAnswer, JudgeVerdict
from tests.commands import ROOT
from tests.evaluation.question_worlds import (
    SIDE,
    judge_by_rule,
    of,
    picture,
    session,
    tiny_options,
    write_sessions,
)
from tests.evaluation.worlds import box, prediction, query, sample
from tests.tiny import tiny_tokenizer

RIGHT, UNKNOWN, WRONG, UNSCORED = (
    JudgeVerdict.correct,
    JudgeVerdict.missing,
    JudgeVerdict.hallucination,
    JudgeVerdict.unscored,
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    options = tiny_options(tmp_path_factory.mktemp("crag_mm"))
    return options, Workbench.open(options)


def single(root):
    """Two egocentric questions, one about an image with an address, one without an image."""
    sessions = [session(f"ego{n}", f"What is {n}?", image=picture()) for n in range(2)]
    sessions.append(session("url", "Which bridge is it?", image_url="bridge.png"))
    sessions.append(session("bare", "Who made it?"))
    write_sessions(root, sessions)
    (root / "bridge.png").write_bytes(picture())
    return root


def benchmark_at(root, name="crag_mm_single", **changes):
    changes = {"tokenizer": "none"} | changes
    return open_benchmark(BenchmarkOptions(name=name, root=str(root), **changes))


def test_single_turn_is_judged_scored_and_written_for_the_official_scorer(opened, tmp_path, caplog):
    options, workbench = opened
    options = of(options, single(tmp_path), "crag_mm_single")
    folder, only = Path(options.output_dir), replace(options, score="only")
    assert evaluate(options, workbench) is None
    said = [record.message for record in caplog.records if "judge.py" in record.message]
    assert len(said) == 1
    assert "4 of 4 answers have no verdict; run scripts/judge.py" in said[0]
    with pytest.raises(ValueError, match="no answers have been judged; run"):
        evaluate(only)
    assert not (folder / "results.json").exists()

    benchmark = open_benchmark(options.benchmark)
    verdicts = {"ego0": RIGHT, "ego1": WRONG, "url": UNKNOWN, "bare": UNSCORED}
    judge_by_rule(folder, benchmark, **verdicts)
    results = evaluate(only)
    policy = results["policies"]["no_search"]
    names = ("accuracy", "missing", "hallucination", "truthfulness", "unscored")
    assert [policy["overall"][name] for name in names] == [0.25, 0.25, 0.25, 0, 0.25]
    assert [policy["egocentric"][name] for name in names] == [0.5, 0, 0.5, 0, 0]
    assert [policy["non_egocentric"][name] for name in names] == [0, 0.5, 0, 0, 0.5]
    assert policy["egocentric"]["n"] == policy["non_egocentric"]["n"] == 2
    assert policy["overall"]["accuracy_interval"][0] <= 0.25
    assert results["protocol"]["judge"] == {"name": "rule"}
    assert "not cut" in results["protocol"]["answers"]
    assert "0 questions of sessions" in results["protocol"]["left_out"]
    assert check_official(folder / "official" / "no_search") == ["ego0"]


def check_official(folder):
    """The official files agree with the verdicts; returns the turns that they count as correct."""
    lines = [json.loads(line) for line in (folder / "turn_data.jsonl").read_text().splitlines()]
    needed = {"session_id", "interaction_id", "query", "ground_truth", "agent_response"}
    assert all(needed <= line.keys() for line in lines)
    with (folder / "turn_evaluation_results_all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = json.loads((folder / "scores_dictionary.json").read_text())
    assert (len(rows), scores["all"]["total"], scores["ego"]["total"]) == (4, 4, 2)
    assert scores["all"]["miss"] == 1
    assert scores["all"]["hallucination"] == 2  # an unreadable verdict is wrong there
    assert scores["ego"]["truthfulness_score"] == 0
    assert [row["session_id"] for row in rows] == ["bare", "ego0", "ego1", "url"]  # as there
    assert [row["is_ego"] for row in rows] == ["False", "True", "True", "False"]
    assert all(row["is_semantically_correct"] == row["is_correct"] for row in rows)
    return [row["interaction_id"] for row in rows if row["is_correct"] == "True"]


def test_verdicts_of_other_answers_are_not_taken(opened, tmp_path, caplog):
    options, workbench = opened
    options = of(options, single(tmp_path), "crag_mm_single")
    evaluate(options, workbench)
    folder, only = Path(options.output_dir), replace(options, score="only")
    judge_by_rule(folder, open_benchmark(options.benchmark))
    assert evaluate(only)["policies"]["no_search"]["overall"]["n"] == 4

    path = folder / "predictions" / "no_search.jsonl"
    changed = [json.loads(line) for line in path.read_text().splitlines()]
    was, changed[0]["answer"] = changed[0]["answer"], "Osmeth"
    path.write_text("".join(json.dumps(line) + "\n" for line in changed))
    with pytest.raises(ValueError, match="no answers have been judged"):
        evaluate(only)
    kit = replace(only.benchmark, protocol=CragMMProtocol.kit)
    changed[0]["answer"] = was
    path.write_text("".join(json.dumps(line) + "\n" for line in changed))
    with pytest.raises(ValueError, match="no answers have been judged"):
        evaluate(replace(only, benchmark=kit))
    assert "verdicts on answers of another run, policy, span or pro" in caplog.text
    assert not (folder / "official" / "no_search" / "scores_dictionary.json").exists()
    assert evaluate(only)["policies"]["no_search"]["overall"]["n"] == 4


def test_conversations_count_by_either_protocol(opened, tmp_path):
    options, workbench = opened
    talk = session("s", "What is it?", "Who made it?", "Where?", "When?", image=picture())
    root = write_sessions(tmp_path, [talk, session("t", "Why?", image=picture())])
    options = of(options, root, "crag_mm_multi", score="after")
    evaluate(options, workbench)
    folder = Path(options.output_dir)
    said = {"s_0": WRONG, "s_1": UNSCORED, "s_2": RIGHT, "s_3": WRONG, "t": RIGHT}
    judge_by_rule(folder, open_benchmark(options.benchmark), **said)
    results = evaluate(replace(options, score="only"))
    paper = results["policies"]["no_search"]["overall"]
    assert (paper["accuracy"], paper["hallucination"], paper["unscored"]) == (0.4, 0.4, 0.2)
    talks = paper["conversations"]
    assert talks["conversation_score"] == pytest.approx((-1 / 4 + 1) / 2)
    assert (talks["failed_twice"], talks["cut_short"], talks["num_conversations"]) == (0.5, 0.5, 2)
    assert results["policies"]["no_search"]["totals"] == {"conversations": talks}
    assert "own answers" in results["protocol"]["history"]

    benchmark = open_benchmark(options.benchmark)
    verdicts = [said[question.id.replace("-", "_")] for question in benchmark.questions]
    kit = count_turns(benchmark.questions, verdicts, protocol=CragMMProtocol.kit)
    assert kit == [WRONG, UNSCORED, UNKNOWN, UNKNOWN, RIGHT]
    figures = conversation_figures(benchmark.questions, verdicts)
    assert figures["conversation_score"] == talks["conversation_score"]


def test_under_the_kits_rule_turns_after_two_failures_are_missing_in_the_results(opened, tmp_path):
    options, workbench = opened
    talk = session("s", "What is it?", "Who made it?", "Where?", "When?", image=picture())
    root = write_sessions(tmp_path, [talk, session("t", "Why?", image=picture())])
    options = of(options, root, "crag_mm_multi")
    evaluate(options, workbench)
    kit = replace(options.benchmark, protocol=CragMMProtocol.kit)
    only, folder = replace(options, benchmark=kit, score="only"), Path(options.output_dir)
    said = {"s_0": WRONG, "s_1": UNSCORED, "s_2": RIGHT, "s_3": WRONG, "t": RIGHT}
    judge_by_rule(folder, open_benchmark(kit), **said)
    names = ("accuracy", "missing", "hallucination", "unscored", "truthfulness", "n")
    overall = evaluate(only)["policies"]["no_search"]["overall"]
    assert [overall[name] for name in names] == [0.2, 0.4, 0.2, 0.2, 0, 5]
    assert overall["conversations"]["cut_short"] == 0.5

    path = folder / "predictions" / "no_search.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["failed"] = "no image" if line["interaction_id"] == "s-1" else None
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    overall = evaluate(replace(only, official_missing=True))["policies"]["no_search"]["overall"]
    assert [overall[name] for name in names] == [
        0.5,
        0,
        0.5,
        0,
        0,
        4,
    ]  # a talk of wrong, right, wrong
    assert overall["conversations"]["cut_short"] == 0


def test_both_unknown_tests(tmp_path):
    root = single(tmp_path)
    rules = {protocol: benchmark_at(root, protocol=protocol).rules for protocol in CragMMProtocol}
    curly = "I don\u2019t know"
    assert rules[CragMMProtocol.paper].says_unknown(curly)
    assert not rules[CragMMProtocol.kit].says_unknown(curly)


def test_the_papers_scores_are_not_written_from_verdicts_by_the_kits_rules(tmp_path):
    root = single(tmp_path)
    verdict = JudgedAnswer(id="bare", verdict=RIGHT, by="rule", answer="")
    for protocol in (CragMMProtocol.paper, CragMMProtocol.kit):  # kit takes paper's away
        found = benchmark_at(root, protocol=protocol)
        found.write_official(tmp_path, found.questions, {"bare": "Osmeth"}, {"bare": verdict})
        is_paper = protocol is CragMMProtocol.paper
        assert (tmp_path / "scores_dictionary.json").exists() is is_paper
        assert len(list(tmp_path.glob("*.csv"))) == 2 * is_paper
        assert len((tmp_path / "turn_data.jsonl").read_text().splitlines()) == 4


def test_answers_are_cut_by_the_tokenizer(tmp_path):
    root, file = single(tmp_path), tmp_path / "tokenizer.json"
    tiny_tokenizer().backend_tokenizer.save(str(file))
    cut = benchmark_at(root, tokenizer=str(file))
    long = "What is the name of the red cup? " * 20
    assert len(tiny_tokenizer()(cut.cut(long)).input_ids) <= 76
    assert cut.cut(long).strip() == long[: len(cut.cut(long).strip())]
    assert "NOT the official one" in cut.protocol["answers"]
    assert cut.identity()["preparation"] != benchmark_at(root).identity()["preparation"]
    for missing in ("/nowhere", ""):
        message = f"benchmark.tokenizer={missing}: there is no such file, and answers are to be cut"
        with pytest.raises(ValueError, match=message):
            benchmark_at(root, tokenizer=missing)


def test_what_the_official_loader_leaves_out_and_squashes(tmp_path):
    out = [session(name, "What is it?") for name in sorted(EXCLUDED_SESSIONS)]
    sessions = [*out, session("ego", "What is it?", image=picture()), session("bare", "Why?")]
    root = write_sessions(tmp_path, sessions)
    found = benchmark_at(root)
    assert [question.id for question in found.questions] == ["ego", "bare"]
    assert "2 questions of sessions" in found.protocol["left_out"]
    assert found.questions[0].load_image().size == (960, 1280)
    assert is_egocentric(found.questions[0])
    plain = benchmark_at(root, squash_egocentric=False)
    assert plain.questions[0].load_image().size == (SIDE, SIDE)
    assert len(benchmark_at(root, limit=1).questions) == 1


def test_task_one_bars_words_and_splits_keep_to_their_indexes(opened, tmp_path):
    root = single(tmp_path)
    scored = of(opened[0], root, "crag_mm_single_image", score="only", policy=PolicyOptions())
    with pytest.raises(ValueError, match="has no predictions"):  # its policy does not matter
        evaluate(scored)
    image_only = benchmark_at(root, "crag_mm_single_image")
    options = EvaluateOptions(benchmark=BenchmarkOptions(name="x", root="y"))
    with pytest.raises(ValueError, match=r"policy=full: crag_mm_single_image \(task 1\) allows no"):
        image_only.check(options)
    no_text = PolicyOptions(name="no_text", allow=[QueryType.image, QueryType.region])
    image_only.check(replace(options, policy=no_text))
    retrieval = RetrievalOptions(source=RetrievalSource.crag_mm)
    retrieval.crag_mm.image_index = "crag-mm-2025/image-search-index-public-test"
    with pytest.raises(ValueError, match="belongs to another split than"):
        benchmark_at(root).check(replace(options, retrieval=retrieval))


def boxed(id, *box, **metadata):
    """A line of the diagnostics' samples, of an image twice as large as ours."""
    size = [2 * SIDE, 2 * SIDE]
    standard = {"target_roi_bbox": [2 * side for side in box], "image_size": size}
    return json.dumps({"id": id, "metadata": standard | metadata}) + "\n"


def test_region_queries_are_held_to_gold_boxes(tmp_path):
    sessions = [session(name, "What is it?", image=picture()) for name in ("a", "b", "c")]
    root = write_sessions(tmp_path, sessions)
    path = tmp_path / "boxes.jsonl"
    prius = {"target_object_name": "Toyota Prius"}
    path.write_text(boxed("a", 2, 2, 10, 10, **prius) + boxed("b", 0, 0, 16, 16, **prius))
    found = benchmark_at(root, gold_boxes=str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"boxes.jsonl (SHA-256 {digest})" in found.protocol["gold_regions"]
    exact = query("e2", "toyota prius")  # its mask is the gold box
    of_a = prediction(sample("a"), "Osmeth", query("e2", "Toyota Prius XW"), exact)
    missed = replace(query("e2"), mask=encode_rle(box(16, 16, 8, 8)))
    predictions = {"a": of_a, "b": prediction(sample("b"), "Osmeth", missed)}
    figures = found.search_totals["gold_regions"](found.questions, predictions, 10)
    assert (figures["n"], figures["num_with_region_query"]) == (2, 2)
    assert figures["first_iou"] == figures["best_iou"] == figures["share_good_iou"] == 0.5
    assert figures["recall"] == {"@1": 0, "@5": 0.5, "@10": 0.5}  # by the second query
    assert figures["official_recall"] == {"@1": 0, "@5": 0.5, "@10": 0.5}  # by the first
    boxes = read_gold_boxes(path)
    alone = region_figures(found.questions, {"a": of_a}, 5, boxes=boxes)
    assert (alone["recall"]["@5"], alone["recall_of_searched"]["@5"]) == (0.5, 1.0)
    first = prediction(sample("a"), "Osmeth", query("e2"), exact)
    once = region_figures(found.questions, {"a": first}, 5, boxes=boxes)
    assert (once["recall"]["@5"], once["official_recall"]["@5"]) == (0.5, 0)


def test_the_name_of_an_article_counts_in_the_official_recall_alone(tmp_path):
    path = tmp_path / "boxes.jsonl"
    address = "https://en.wikipedia.org/wiki/Toyota_Prius_%28XW20%29"
    path.write_text(boxed("a", 2, 2, 10, 10, target_object_name="car", wikipedia_url=address))
    root = write_sessions(tmp_path, [session("a", "What is it?", image=picture())])
    predictions = {"a": prediction(sample("a"), "Osmeth", query("toyota prius (xw20)"))}
    questions, boxes = benchmark_at(root).questions, read_gold_boxes(path)
    figures = region_figures(questions, predictions, 1, boxes=boxes)
    assert (figures["recall"], figures["official_recall"]) == ({"@1": 0}, {"@1": 1})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (boxed("a", 5, 5, 5, 9, target_object_name="x"), "has no area; mend it"),
        (boxed("a", 1, 1, 5, 9), "lacks target_object_name"),
        (boxed("a", 1, 1, 5, target_object_name="x"), "is no list of 4 numbers"),
        (boxed("a", 1, 1, 5, 9, target_object_name=None), "target_object_name None is no text"),
        (boxed("a", 1, 1, 5, 9, target_object_name="x") * 2, "'a' occurs twice"),
    ],
)
def test_a_broken_line_of_gold_boxes_is_named(line, message, tmp_path):
    path = tmp_path / "boxes.jsonl"
    path.write_text(line)
    with pytest.raises(ValueError, match=rf"boxes\.jsonl:\d: .*{message}"):
        read_gold_boxes(path)


@pytest.mark.slow
def test_the_script_runs_under_torchrun(opened, tmp_path):
    options, _ = opened
    root, retrieval = single(tmp_path), options.retrieval
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node=2")
    overrides = (
        "benchmark=crag_mm_single",
        f"benchmark.root={root}",
        "benchmark.split=validation",
        "benchmark.tokenizer=none",
        "policy=no_search",
        f"checkpoint={options.checkpoint}",
        f"output_dir={tmp_path / 'output'}",
        "generation.max_new_tokens=6",
        "generation.answer_tokens=2",
        "retrieval=miniature",
        f"retrieval.knowledge_base={retrieval.knowledge_base}",
        f"retrieval.index={retrieval.index}",
        "retrieval.text_encoder.dimension=64",
        f"retrieval.image_encoder.model={retrieval.image_encoder.model}",
        "retrieval.image_encoder.dimension=24",
    )
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "scripts/evaluate.py", *overrides],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    parts = sorted((tmp_path / "output" / "predictions").glob("*.jsonl"))
    assert [len(part.read_text().splitlines()) for part in parts] == [2, 2]
    assert (done.stdout + done.stderr).count("run scripts/judge.py") == 1
