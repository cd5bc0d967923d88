"""Conversations, failures, kills and several processes, with a tiny model that really answers."""

import json
import os
import re
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pixsearch.config import Control, ForcedFirst, GenerationOptions, PolicyOptions
from pixsearch.evaluation import Workbench, benchmarks, evaluate, question_runner
from pixsearch.evaluation.benchmarks import crag_mm
from pixsearch.evaluation.parted_lines import part_paths, read_parts
from pixsearch.evaluation.question_runner import NO_ANSWER
from pixsearch.generation.records import Request
from pixsearch.queries import SearchFailed
from tests.evaluation.question_worlds import (
    NO_SEARCH,
    evaluate_in_fork,
    of,
    picture,
    session,
    tiny_options,
    write_sessions,
)

TALKS = "talks"  # a benchmark without a judge
BY_WORDS = PolicyOptions(name="text_query", allow=[], forced_first=ForcedFirst.text_query)


def load_talks(options):
    """CRAG-MM's conversations, scored by how long the answers are."""
    return replace(
        crag_mm.load_multi(options),
        name=TALKS,
        is_judged=False,
        metrics={"length": lambda question, answer: min(1.0, len(answer) / 100)},
        totals={"count": lambda questions, answers: {"missing": list(answers).count(None)}},
    )


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    options = tiny_options(tmp_path_factory.mktemp("questions"))
    return options, Workbench.open(options)


@pytest.fixture
def talks(opened, tmp_path, monkeypatch):
    """Three conversations of three turns, one of them without an image, and one of one turn."""
    monkeypatch.setitem(benchmarks.BENCHMARKS, TALKS, load_talks)
    sessions = [
        session(f"s{n}", f"What is {n}?", "Who made it?", "Where?", image=picture())
        for n in range(2)
    ]
    sessions.append(session("t0", "What is a 0?", "Why?", "When?"))
    sessions.append(session("u", "How many lamps are there?"))
    write_sessions(tmp_path, sessions)
    options, workbench = opened
    return of(options, tmp_path, TALKS), workbench


def predictions_of(options):
    return Path(options.output_dir) / "predictions" / f"{options.policy.name}.jsonl"


def lines_of(options):
    path = predictions_of(options)
    return {line["interaction_id"]: line for line in read_parts(path, id_field="interaction_id")}


def answers_of(options):
    return {id: line["answer"] for id, line in lines_of(options).items()}


def result_files(options):
    folder = Path(options.output_dir)
    files = [folder / "results.json", *(folder / "scores").iterdir()]
    return {file.name: file.read_bytes() for file in files}


def spy_on_requests(monkeypatch):
    """Every request that is put to an engine, by id."""
    asked: dict[str, Request] = {}
    open_engine = question_runner.open_engine

    def opening(*args, **options):
        engine = open_engine(*args, **options)
        finished = engine.finished

        def noting(requests):
            asked.update({request.id: request for request in requests})
            return finished(requests)

        engine.finished = noting
        return engine

    monkeypatch.setattr(question_runner, "open_engine", opening)
    return asked


def words(request):
    return [message.parts[0].text for message in request.history]


def test_a_turn_is_asked_after_the_models_own_answers(talks, monkeypatch):
    options, workbench = talks
    asked = spy_on_requests(monkeypatch)
    results = evaluate(options, workbench)
    said = {id: answer.strip() or NO_ANSWER for id, answer in answers_of(options).items()}
    assert len(said) == 10
    for name in ("s1", "t0"):
        assert words(asked[f"{name}-0"]) == []
        first = [f"What is {'a ' * (name[0] == 't')}{name[1]}?", said[f"{name}-0"]]
        assert words(asked[f"{name}-1"]) == first
        second = "Why?" if name[0] == "t" else "Who made it?"
        assert words(asked[f"{name}-2"]) == [*first, second, said[f"{name}-1"]]
    policy = results["policies"]["no_search"]
    assert policy["n"] == policy["metrics"]["length"]["n"] == 10
    assert policy["slices"]["is_egocentric"]["true"]["length"]["n"] == 6
    assert policy["totals"] == {"count": {"missing": 0}}
    scores = [json.loads(line) for line in result_files(options)["no_search.jsonl"].splitlines()]
    assert [one["id"] for one in scores][:4] == ["s0-0", "s0-1", "s0-2", "s1-0"]
    assert {one["cluster"] for one in scores if one["id"][0] == "s"} == {"s0", "s1"}
    assert scores[0]["slices"]["is_egocentric"] == "true"
    assert scores[0]["scores"]["length"] == min(1.0, len(answers_of(options)["s0-0"]) / 100)


def test_a_killed_conversation_goes_on_at_its_turn(talks, monkeypatch):
    options, workbench = talks
    evaluate(options, workbench)
    whole, files = answers_of(options), result_files(options)
    path = predictions_of(options)
    lines = path.read_text().splitlines(keepends=True)
    kept = [
        line for line in lines if json.loads(line)["interaction_id"] in ("s0-0", "t0-0", "t0-1")
    ]
    path.write_text("".join(kept) + lines[-1][:40])
    asked = spy_on_requests(monkeypatch)
    evaluate(options, workbench)
    assert set(asked) == set(whole) - {"s0-0", "t0-0", "t0-1"}
    assert words(asked["t0-2"])[1::2] == [whole[id].strip() or NO_ANSWER for id in ("t0-0", "t0-1")]
    assert answers_of(options) == whole
    assert result_files(options) == files


def test_two_processes_share_the_work_and_end_the_same(talks):
    options, workbench = talks
    evaluate(options, workbench)
    two = replace(options, output_dir=options.output_dir + "-two")
    children = [evaluate_in_fork(two, workbench, rank, 2) for rank in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    parts = part_paths(predictions_of(two))
    assert [part.name for part in parts] == ["no_search.jsonl", "no_search.part-01.jsonl"]
    ids = [set(re.findall(r'"interaction_id": "(.*?)"', part.read_text())) for part in parts]
    assert sorted({id[:2] for id in ids[0]}) == ["s0", "t0"]
    assert ids[0].isdisjoint(ids[1])
    assert answers_of(two) == answers_of(options)
    assert result_files(two) == result_files(options)
    parts[0].unlink()  # as if its process had been killed at once
    Path(two.output_dir, "results.json").unlink()
    child = evaluate_in_fork(two, workbench, 1, 2)
    assert os.waitpid(child, 0)[1] == 0
    assert not Path(two.output_dir, "results.json").exists()
    evaluate(two, workbench)  # alone
    assert result_files(two) == result_files(options)


class Failing:
    """A knowledge source that does not answer one query while it is told not to."""

    def __init__(self, source, words):
        self.source, self.words = source, words

    def search(self, queries, k=5, **options):
        if any(query.text == self.words for query in queries):
            raise SearchFailed("nobody is there", is_temporary=False)
        return self.source.search(queries, k, **options)

    def info(self):
        return self.source.info()


def test_a_failed_turn_is_recorded_and_answered_again_when_asked(talks):
    options, workbench = talks
    options = replace(options, policy=BY_WORDS)
    source = Failing(workbench.searcher, "Who made it?")
    broken = Workbench(model=workbench.model, searcher=source, features=workbench.features)
    policy = evaluate(options, broken)["policies"]["text_query"]
    failed = {id: line["failed"] for id, line in lines_of(options).items() if line["failed"]}
    assert set(failed) == {"s0-1", "s1-1"}
    assert all("nobody is there" in reason for reason in failed.values())
    assert (policy["n"], policy["num_failed"], policy["num_missing_predictions"]) == (10, 2, 0)
    assert policy["metrics"]["length"]["n"] == 10
    assert policy["totals"] == {"count": {"missing": 2}}
    assert policy["finish_reasons"]["failed"] == 2
    skipped = evaluate(replace(options, score="only", official_missing=True), broken)
    length = skipped["policies"]["text_query"]["metrics"]["length"]
    assert (length["n"], length["num_left_out"]) == (8, 2)
    assert evaluate(options, workbench)["policies"]["text_query"]["num_failed"] == 2
    source.words = None
    again = replace(options, retry_failed=True)
    assert evaluate(again, broken)["policies"]["text_query"]["num_failed"] == 0
    fresh = replace(options, output_dir=options.output_dir + "-fresh")
    evaluate(fresh, workbench)
    assert answers_of(options) == answers_of(fresh)  # turns behind the failed ones too
    results = evaluate(replace(fresh, policy=NO_SEARCH), workbench)
    first, second = (
        results["policies"][name]["metrics"]["length"]["value"]
        for name in ("text_query", "no_search")
    )
    compared = results["comparisons"]["text_query"]
    assert (compared["to"], compared["metrics"]["length"]["n"]) == ("no_search", 10)
    assert compared["metrics"]["length"]["value"] == pytest.approx(first - second)


def test_what_cannot_be_asked_fails_alone(talks, tmp_path):
    """A dead image and a prompt that does not fit, among questions that can be answered."""
    options, workbench = talks
    sessions = [
        session("dead", "What is it?", image_url="https://nowhere.example/a.jpg"),
        session("long", "why " * 3000),
        *(session(f"good{n}", "What is it?") for n in range(3)),
    ]
    options = of(options, write_sessions(tmp_path / "broken", sessions), TALKS)
    policy = evaluate(options, workbench)["policies"]["no_search"]
    lines = lines_of(options)
    assert (policy["n"], policy["num_failed"]) == (5, 2)
    assert "missing image of example 'dead'" in lines["dead"]["failed"]
    assert "max_length" in lines["long"]["failed"]
    assert not any(lines[f"good{n}"]["failed"] for n in range(3))


def test_another_checkpoints_answers_are_set_aside_and_named(talks, caplog):
    options, workbench = talks
    evaluate(options, workbench)
    path = predictions_of(options).with_suffix(".manifest.json")
    manifest = json.loads(path.read_text())
    manifest["run"]["checkpoint"] = "another"
    path.write_text(json.dumps(manifest))
    evaluate(options, workbench)
    (said,) = [line.message for line in caplog.records if "holds answers of" in line.message]
    assert "checkpoint another; they are set aside for those of" in said


def test_predictions_of_another_run_are_refused_in_one_line(talks):
    options, workbench = talks
    evaluate(options, workbench)
    control = PolicyOptions(name="gold_region", control=Control.gold_region)
    with pytest.raises(ValueError, match="only the miniature knows the gold"):
        evaluate(replace(options, policy=control), workbench)
    other = predictions_of(options).with_name("full.jsonl")
    other.write_text(predictions_of(options).read_text())
    manifest = json.loads(predictions_of(options).with_suffix(".manifest.json").read_text())
    manifest["policy"]["name"] = "full"
    manifest["run"]["checkpoint"] = "another"
    other.with_suffix(".manifest.json").write_text(json.dumps(manifest))
    only = replace(options, score="only")
    with pytest.raises(ValueError, match="is of another run than") as raised:
        evaluate(only, workbench)
    assert "\n" not in str(raised.value)
    other.unlink()
    benchmark = replace(only.benchmark, squash_egocentric=True)
    with pytest.raises(ValueError, match=r"holds answers to talks .*egocentric 960x1280"):
        evaluate(replace(only, benchmark=benchmark), workbench)
    path = predictions_of(options)
    for suffix in (".jsonl", ".manifest.json"):
        path.with_suffix(suffix).rename(path.with_name(f"full{suffix}"))
    with pytest.raises(ValueError, match=r"full\.jsonl was made for no_search: rename it"):
        evaluate(only, workbench)


def test_a_line_has_the_times_of_its_own_request(talks, monkeypatch):
    options, workbench = talks
    options, open_engine = replace(options, policy=BY_WORDS), question_runner.open_engine

    def timed(end):
        search = replace(end.trajectory.searches[0], seconds=0.25)
        return replace(end, trajectory=replace(end.trajectory, searches=(search,), seconds=1.25))

    def opening(*args, **more):
        engine = open_engine(*args, **more)
        finished = engine.finished
        engine.finished = lambda requests: map(timed, finished(requests))
        return engine

    monkeypatch.setattr(question_runner, "open_engine", opening)
    evaluate(options, workbench)
    times = {
        (line["seconds"], line["queries"][0]["seconds"]) for line in lines_of(options).values()
    }
    assert times == {(1.25, 0.25)}


def wait_for_lines(options, count, child):
    path = predictions_of(options)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.002)
    raise AssertionError(f"it ended before {count} lines were written")


def kill_after(options, workbench, count):
    child = evaluate_in_fork(options, workbench, 0, 1)
    wait_for_lines(options, count, child)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def test_a_kill_loses_and_doubles_nothing(talks):
    options, workbench = talks
    kill_after(options, workbench, 3)
    assert not Path(options.output_dir, "results.json").exists()
    evaluate(options, workbench)
    lines = predictions_of(options).read_text().splitlines()
    assert Counter(json.loads(line)["interaction_id"] for line in lines).most_common(1)[0][1] == 1
    assert len(lines) == 10


@pytest.mark.slow
def test_a_thousand_samples_survive_ten_kills(talks, tmp_path):
    options, workbench = talks
    sessions = [session(f"q{n}", f"What is {n}?", "Why?") for n in range(250)]
    sessions += [session(f"p{n}", f"Who is {n}?") for n in range(500)]
    generation = GenerationOptions(max_new_tokens=2, answer_tokens=1, batch_size=32)
    root = write_sessions(tmp_path / "many", sessions)
    options = of(options, root, TALKS, generation=generation, policy=NO_SEARCH)
    for kill in range(10):
        kill_after(options, workbench, 90 * (kill + 1))
    evaluate(options, workbench)
    lines = [json.loads(line) for line in predictions_of(options).read_text().splitlines()]
    counts = Counter(line["interaction_id"] for line in lines)
    assert len(counts) == len(lines) == 1000
    undisturbed = replace(options, output_dir=options.output_dir + "-undisturbed")
    evaluate(undisturbed, workbench)
    assert answers_of(undisturbed) == answers_of(options)
    assert result_files(undisturbed) == result_files(options)
