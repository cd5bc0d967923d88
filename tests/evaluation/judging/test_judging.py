"""Verdicts on saved answers, by a server that answers well, badly, late and not at all."""

import json
import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pixsearch.config import BenchmarkOptions, CragMMProtocol
from pixsearch.endpoint.request import EndpointUnavailable
from pixsearch.endpoint.schema import check
from pixsearch.evaluation.benchmarks import BENCHMARKS, open_benchmark
from pixsearch.evaluation.judging import judge_predictions
from pixsearch.evaluation.judging.prompt import OWN, SCHEMA
from pixsearch.evaluation.metrics.truthfulness import Verdict
from pixsearch.evaluation.question_results import write_question_results
from pixsearch.evaluation.score import write_results
from pixsearch.evaluation.verdicts import JudgeVerdict
from pixsearch.line_store import one_writer
from pixsearch.retrieval.connection import Connection
from tests.chat_server import Act, Asked, serving
from tests.evaluation.judging.answered import (
    lines_of,
    options_of,
    oracle,
    rules,
    ruling,
    save,
    verdicts_of,
    write_questions,
)
from tests.evaluation.test_score import save as save_miniature
from tests.evaluation.worlds import benchmark, prediction
from tests.trajectories.toys import patient_not

RIGHT, WRONG = "It is number 1 .", "It is basalt."
ANSWERS = {
    "q0": "Stone 0 ",  # equals the reference
    "q1": RIGHT,
    "q2": WRONG,
    "q3": "Sorry, I don\u2019t know.",
    "q4": " ",
    "q5": None,
}


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("questions")
    write_questions(root, 8)
    return root


@pytest.fixture
def root(questions: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(questions, tmp_path, dirs_exist_ok=True))


@pytest.fixture
def serve(root: Path) -> Callable[..., Any]:
    """Judges ANSWERS, or others, by a scripted server."""

    def judged(script=oracle, answers=ANSWERS, **changes):
        with serving(script) as server:
            options = options_of(root, server.url, **changes)
            save(options, "full", answers)
            judge_predictions(options)
        return options, server

    return judged


def test_each_answer_has_a_verdict_and_who_gave_it(serve):
    options, server = serve()
    found = {id: (line["verdict"], line["by"]) for id, line in lines_of(options).items()}
    assert found == {
        "q0": ("correct", "exact"),
        "q1": ("correct", "oracle"),
        "q2": ("hallucination", "oracle"),
        "q3": ("missing", "unknown"),
        "q4": ("hallucination", "empty"),
    }  # q5 failed, q6 and q7 were never asked: scoring counts them
    assert lines_of(options)["q2"]["reason"] == "so it is"
    assert len(server.asked) == 2


def test_the_judge_sees_question_reference_and_answer_and_nothing_else(serve):
    _, server = serve(answers={"q1": RIGHT})
    (asked,) = server.asked
    assert asked.fields == {
        "question": "Which stone is number 1?",
        "reference": "stone 1",
        "answer": RIGHT,
    }
    assert (asked.body["model"], asked.body["temperature"]) == ("oracle", 0.0)
    assert [message["role"] for message in asked.body["messages"]] == ["system", "user"]


def test_what_is_judged_is_scored(serve):
    options, _ = serve()
    questions = BENCHMARKS["crag_mm_single"](options.benchmark)
    results = write_question_results(
        Path(options.output_dir), questions, span=options.answer, official_missing=False
    )
    overall = results["policies"]["full"]["overall"]
    assert (overall["n"], overall["accuracy"], overall["missing"]) == (8, 2 / 8, 1 / 8)
    assert results["protocol"]["judge"]["model"] == "oracle"


def test_the_kit_takes_a_curly_apostrophe_for_an_answer(serve, root):
    kit = replace(options_of(root).benchmark, protocol=CragMMProtocol.kit)
    options, server = serve(benchmark=kit)
    assert lines_of(options)["q3"]["by"] == "oracle"
    assert len(server.asked) == 3


def test_a_question_without_a_reference_is_unscored(tmp_path):
    write_questions(tmp_path, 2, blank=(0,))
    options = options_of(tmp_path, judge=rules())
    save(options, "full", {"q0": "granite", "q1": "stone 1"})
    judge_predictions(options)
    assert verdicts_of(options) == {"q0": "unscored", "q1": "correct"}
    assert "no reference answer" in lines_of(options)["q0"]["reason"]


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (Act(text="It seems right to me."), "is not JSON"),
        (Act(text='{"verdict": "maybe", "reason": ""}'), "'maybe', not one of correct, wrong"),
        (Act(text='{"verdict": "correct"}'), "lacks reason"),
        (Act(text='{"verdict": "cor', finish_reason="length"), "must be shorter"),
        (Act(status=400), "status 400"),
        (Act(refusal="I may not"), "filter"),
    ],
)
def test_no_verdict_is_unscored_and_says_why(serve, act, reason):
    options, _ = serve(lambda asked: act, answers={"q1": RIGHT, "q0": "stone 0"})
    assert verdicts_of(options) == {"q0": "correct", "q1": "unscored"}
    assert reason in lines_of(options)["q1"]["reason"]


def test_a_malformed_verdict_is_asked_for_again(serve):
    acts = [Act(text="mumble"), Act(status=500), ruling("correct")]
    options, server = serve(lambda asked: acts.pop(0), answers={"q1": RIGHT})
    assert (verdicts_of(options), len(server.asked)) == ({"q1": "correct"}, 3)


def test_unscored_answers_are_asked_about_again_where_that_is_wanted(root, caplog):
    caplog.set_level(logging.INFO)
    with serving(lambda asked: Act(text="mumble")) as server:
        options = options_of(root, server.url)
        save(options, "full", {"q0": "stone 0", "q1": RIGHT})
        judge_predictions(options)
        assert "1 unscored; retry_unscored=true asks again" in caplog.text
        num_asked, server.script = len(server.asked), oracle
        judge_predictions(options)
        assert (verdicts_of(options)["q1"], len(server.asked)) == ("unscored", num_asked)
        judge_predictions(replace(options, retry_unscored=True))
        assert len(server.asked) == num_asked + 1
    assert verdicts_of(options) == {"q0": "correct", "q1": "correct"}


def test_equal_answers_are_paid_for_once_over_policies_and_runs(root):
    with serving(oracle) as server:
        options = options_of(root, server.url)
        save(options, "full", {"q1": RIGHT, "q2": WRONG})
        save(options, "no_search", {"q1": RIGHT, "q2": "Slate."})
        judge_predictions(options)
        assert len(server.asked) == 3
        elsewhere = replace(options, output_dir=str(root / "other"))
        save(elsewhere, "full", {"q1": RIGHT, "q2": WRONG, "q3": WRONG})
        judge_predictions(elsewhere)
        assert len(server.asked) == 4
    assert verdicts_of(elsewhere)["q1"] == verdicts_of(options, "no_search")["q1"] == "correct"


OTHER_QUESTIONS = {
    "question": {"question": "What stone has number {}?"},
    "references": {"reference": "rock {}"},
}


@pytest.mark.parametrize("change", ["model", "prompt", "question", "references", "answer"])
def test_another_judge_prompt_question_reference_or_answer_is_another_verdict(
    root, tmp_path_factory, change
):
    with serving(oracle) as server:
        options = options_of(root, server.url)
        save(options, "full", {"q1": RIGHT, "q0": "stone 0"})
        judge_predictions(options)
        if change == "model":
            options.judge.endpoint.model = "delphi"
        if change == "prompt":
            own = root / "own_v1.md"
            own.write_text(OWN.read_text())
            options.judge.prompt = str(own)
        if change in OTHER_QUESTIONS:
            other = tmp_path_factory.mktemp(change)
            write_questions(other, 8, **OTHER_QUESTIONS[change])
            options = options_of(other, server.url, verdict_cache=options.verdict_cache)
            save(options, "full", {"q1": RIGHT})
        if change == "answer":
            save(options, "full", {"q1": WRONG})
        judge_predictions(options)
        assert len(server.asked) == 2
    assert verdicts_of(options)["q1"] == ("hallucination" if change == "answer" else "correct")


def test_a_busy_judge_is_waited_for_as_it_asks_and_longer_each_time(root, monkeypatch):
    waited: list[float] = []
    patient = partial(Connection, sleep=waited.append)
    monkeypatch.setattr("pixsearch.endpoint.chat.Connection", patient)
    busy = Act(status=429, headers={"Retry-After": "7"})
    acts = [busy, *[Act(status=500)] * 5, ruling("correct")]
    with serving(lambda asked: acts.pop(0)) as server:
        options = options_of(root, server.url)
        options.judge.endpoint.client = patient_not(
            retries=6, backoff_seconds=1.0, max_wait_seconds=60.0
        )
        save(options, "full", {"q1": RIGHT})
        judge_predictions(options)
    assert verdicts_of(options) == {"q1": "correct"}
    asked_for, *grown = waited
    assert asked_for == 7.0
    assert all(0 <= wait <= 2**retry for retry, wait in enumerate(grown, 1))
    assert sum(grown) > 1  # by chance less in one run of some millions
    assert len(grown) == 5


def test_a_judge_that_is_away_ends_the_run_before_it_begins(root):
    options = options_of(root, "http://127.0.0.1:9/v1")
    options.judge.endpoint.client = patient_not(retries=1)
    save(options, "full", ANSWERS)
    with pytest.raises(EndpointUnavailable, match=r"no answer.*it goes on"):
        judge_predictions(options)
    assert verdicts_of(options) == {"q0": "correct", "q3": "missing", "q4": "hallucination"}
    with serving(oracle) as server:
        options.judge = options_of(root, server.url).judge
        judge_predictions(options)
        assert len(server.asked) == 2


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_key_or_address_ends_the_run_before_it_begins(serve, status):
    with pytest.raises(EndpointUnavailable, match=f"status {status}"):
        serve(lambda asked: Act(status=status), answers={"q1": RIGHT})


def test_a_judge_that_goes_away_leaves_the_rest_unscored(root):
    """After some requests nobody waits for it any more; a later run asks only for the rest."""
    left = [ruling("wrong")] * 3

    def tiring(asked: Asked) -> Act:
        return left.pop() if left else Act(status=500)

    with serving(tiring) as server:
        options = options_of(root, server.url)
        options.judge.give_up_after = 2
        options.judge.endpoint.concurrency = 1
        options.judge.endpoint.client = patient_not(retries=0)
        save(options, "full", {f"q{number}": "Basalt." for number in range(8)})
        judge_predictions(options)
        assert len(server.asked) == 5
        lines = lines_of(options).values()
        reasons = [line["reason"] for line in lines if line["verdict"] == "unscored"]
        assert sum("status 500" in reason for reason in reasons) == 2
        assert sum("not asked: 2 requests in a row" in reason for reason in reasons) == 3
        server.script = oracle
        judge_predictions(replace(options, retry_unscored=True))
        assert len(server.asked) == 10
    assert set(verdicts_of(options).values()) == {"hallucination"}


def test_a_slow_answer_is_given_up(root):
    def slow(asked: Asked) -> Act:
        hold = server.released if "1" in asked.fields["reference"] else None
        return replace(ruling("wrong"), wait_for=hold)

    with serving(slow) as server:
        options = options_of(root, server.url)
        options.judge.endpoint.concurrency = 1
        options.judge.endpoint.client = patient_not(timeout_seconds=0.3, retries=1)
        save(options, "full", {"q0": WRONG, "q1": WRONG, "q2": WRONG})
        judge_predictions(options)
    assert verdicts_of(options)["q2"] == "hallucination"
    assert "no answer in time" in lines_of(options)["q1"]["reason"]


def test_so_many_requests_are_under_way_and_no_more(root):
    together = threading.Barrier(2, timeout=20)  # breaks unless two are there at once
    most, lock, now = [0], threading.Lock(), [0]

    def counting(asked: Asked) -> Act:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait()
        with lock:
            now[0] -= 1
        return oracle(asked)

    with serving(counting) as server:
        options = options_of(root, server.url)
        save(options, "full", {f"q{number}": WRONG for number in range(8)})
        judge_predictions(options)
    assert most[0] == 2
    assert len(verdicts_of(options)) == 8


def test_two_judges_agree_so_far(serve, caplog):
    caplog.set_level(logging.INFO)
    answers = {**ANSWERS, "q6": "stone of 6", "q7": "7"}
    options, _ = serve(answers=answers, second_judge=rules())
    assert lines_of(options, second=True)["q1"]["by"] == "rules"
    found = json.loads((Path(options.output_dir) / "verdicts" / "agreement.json").read_text())
    every, asked = found["full"]["all"], found["full"]["asked"]
    assert (every["n"], asked["n"], every["num_left_out"]) == (7, 4, 0)
    assert asked["equal"] == 1 / 4  # rules take three right answers in other words for wrong
    assert asked["kappa"] == 0
    assert every["equal"] == 4 / 7
    assert asked["pairs"] == {
        "correct": {"hallucination": 3},
        "hallucination": {"hallucination": 1},
    }
    assert every["equal_interval"][0] <= every["equal"] <= every["equal_interval"][1]
    assert [judge["kind"] for judge in found["full"]["judges"]] == ["endpoint", "rules"]
    assert "agree on 0.250 of 4 answers (asked), kappa 0.000" in caplog.text


def test_agreement_is_not_kept_from_another_run(root):
    options = options_of(root, "http://127.0.0.1:9/v1", second_judge=rules())
    run = {"benchmark": open_benchmark(options.benchmark).identity()}
    answers = {"q0": "stone 0", "q3": "I don't know."}  # settled: no server is asked
    path = Path(options.output_dir) / "verdicts" / "agreement.json"
    for policy, checkpoint in (("full", "one"), ("no_search", "one")):
        save(options, policy, answers, run=run | {"checkpoint": checkpoint})
        judge_predictions(replace(options, policies=[policy]))
    assert json.loads(path.read_text()).keys() == {"full", "no_search"}
    save(options, "full", answers, run=run | {"checkpoint": "two"})
    judge_predictions(options)
    assert json.loads(path.read_text()).keys() == {"full"}


def test_unscored_answers_are_left_out_of_the_agreement(serve):
    options, _ = serve(lambda asked: Act(text="mumble"), second_judge=rules())
    found = json.loads((Path(options.output_dir) / "verdicts" / "agreement.json").read_text())
    assert found["full"]["asked"] == {
        "n": 0, "num_left_out": 2, "equal": None, "equal_interval": None, "kappa": None,
        "kappa_interval": None, "pairs": {},
    }  # fmt: skip


def test_a_second_judge_is_another(root):
    options = options_of(root, judge=rules(), second_judge=rules())
    save(options, "full", ANSWERS)
    with pytest.raises(ValueError, match="second_judge is the same as judge"):
        judge_predictions(options)


def test_policies_may_be_chosen(root):
    options = options_of(root, judge=rules(), policies=["no_search"])
    save(options, "full", ANSWERS)
    save(options, "no_search", ANSWERS)
    counts = judge_predictions(options)
    assert counts == {
        "no_search": {JudgeVerdict.correct: 1, JudgeVerdict.missing: 1,
                      JudgeVerdict.hallucination: 3}
    }  # fmt: skip
    with pytest.raises(ValueError, match="nothing was predicted under x; there are: no_search"):
        judge_predictions(replace(options, policies=["x"]))


def test_predictions_of_another_run_are_refused(root):
    options = options_of(root, judge=rules())
    save(options, "full", ANSWERS, run={"benchmark": {"name": "x", "fingerprint": "0" * 64}})
    with pytest.raises(ValueError, match="holds answers to x"):
        judge_predictions(options)


def test_two_processes_do_not_share_a_judges_folder(serve, root):
    options, _ = serve()
    (folder,) = (root / "cache").iterdir()
    with one_writer(folder), pytest.raises(ValueError, match="wait for it, or set verdict_cache"):
        judge_predictions(replace(options, output_dir=str(root / "output")))


def test_rules_give_the_verdicts_of_the_miniatures_results(tmp_path, monkeypatch):
    world = benchmark()
    texts = ["the land of Osmeth", "Tarn", "I do not know"], ["I don't know", "Osmeth.", ""]
    answers = {
        policy: [prediction(one, text) for one, text in zip(world.samples, given, strict=False)]
        for policy, given in zip(("full", "whole_image"), texts, strict=True)
    }
    save_miniature(tmp_path, world, answers)
    monkeypatch.setitem(BENCHMARKS, "toy", lambda options: world)
    options = options_of(tmp_path, judge=rules(), output_dir=str(tmp_path))
    counts = judge_predictions(replace(options, benchmark=BenchmarkOptions(name="toy", root="")))
    results = write_results(tmp_path, world, span=options.answer)
    for policy, scores in results["policies"].items():
        overall = scores["overall"]
        assert {each.value: counts[policy][each] / overall["n"] for each in Verdict} == {
            "correct": pytest.approx(overall["accuracy"]),
            "missing": pytest.approx(overall["missing"]),
            "hallucination": pytest.approx(overall["hallucination"]),
        }
    saved = {one.interaction_id: one.verdict for one in answers["full"]}
    assert verdicts_of(options) == {id: saved[id] for id in ("a", "b", "c")}


def test_the_prompts_examples_fit_the_schema():
    text = OWN.read_text().partition("## Examples")[2]
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert len(lines) >= 4
    for sent, answer in zip(lines[::2], lines[1::2], strict=True):
        assert sent.keys() == {"question", "reference", "answer"}
        check(answer, SCHEMA)
