"""The stages in a row, against a real server that plays the teacher and a real index."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pixsearch.chat import Searched, Text
from pixsearch.config import (
    AnswerFormat,
    BuildStage,
    OnError,
    QuestionSourceOptions,
    RetrievalOptions,
    WhenSilent,
)
from pixsearch.datasets.files import JsonLines
from pixsearch.datasets.questions import QUESTION_READERS
from pixsearch.datasets.trajectories import load
from pixsearch.endpoint.request import EndpointUnavailable
from pixsearch.trajectories.build import build_trajectories
from pixsearch.trajectories.held_out import HeldOut, blocked_questions
from pixsearch.trajectories.running import FOLDER
from pixsearch.trajectories.sources import Questions
from tests.chat_server import Act, serving
from tests.datasets.questions.make_fixtures import FIXTURES
from tests.trajectories.toys import know, options_of, write_questions

REASONS = {
    "mumble": ("select", "malformed_answer"),
    "sign": ("select", "unsuited_kind"),
    "silent": ("write", "silent_evidence"),
    "wrong": ("write", "contradicting_evidence"),
}


def left_out(output: Path) -> dict[str, tuple[str, str]]:
    lines = JsonLines(output / "quarantine.jsonl")
    return {line["key"].removeprefix("toy/"): (line["stage"], line["reason"]) for line in lines}


def written(output: Path) -> dict[str, bytes]:
    names = ("train.jsonl", "quarantine.jsonl")
    return {name: (output / name).read_bytes() for name in names}


def test_questions_become_trajectories(tmp_path: Path, source: RetrievalOptions) -> None:
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    with serving(know) as server:
        counts = build_trajectories(options_of(root, source, server.url, output))
    assert left_out(output) == REASONS
    examples = {example.id: example for example in load(output, "train")}
    assert set(examples) == {"toy/0", "toy/1", "toy/2", "toy/count"}
    for name in "012":
        parts = examples[f"toy/{name}"].conversation.messages[-1].parts
        before, search, answer = parts
        assert before == Text(text=f"I look for boat {name}")
        assert isinstance(search, Searched)
        assert search.text == f"boat {name}"  # not the first candidate, which found another
        assert [passage.id for passage in search.passages] == [name]
        assert answer == Text(text=f"Guild{name} made it.")
    assert examples["toy/count"].conversation.messages[-1].parts == (Text(text="three"),)
    assert examples["toy/0"].load_image().size == (32, 24)
    assert examples["toy/1"].load_image is None
    assert counts.searches == {("toy", "text"): 3}
    rows = {row["kind"]: row for row in counts.to_json()["questions"]}
    assert (rows["factoid"]["with_search"], rows["factoid"]["quarantined"]) == (3, 2)
    assert rows["unclassed"]["quarantined"] == 2
    report = json.loads((output / "report.json").read_text())
    assert report["teacher"]["paid_in_this_run"]["requests"] == len(server.asked)
    assert "silent_evidence" in counts.table()


def test_a_finished_build_asks_nothing(tmp_path: Path, source: RetrievalOptions) -> None:
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    with serving(know) as server:
        options = options_of(root, source, server.url, output)
        build_trajectories(options)
        before, asked = written(output), len(server.asked)
        build_trajectories(options)
        assert len(server.asked) == asked
    assert written(output) == before


@pytest.mark.slow
def test_stages_one_by_one_end_in_the_same(tmp_path: Path, source: RetrievalOptions) -> None:
    root = write_questions(tmp_path / "toy")
    with serving(know) as server:
        build_trajectories(options_of(root, source, server.url, tmp_path / "whole"))
        whole = server.tasks()
        for stage in BuildStage:
            output = tmp_path / "steps"
            build_trajectories(options_of(root, source, server.url, output, until=stage))
            assert (output / "train.jsonl").exists() == (stage is BuildStage.write)
        assert server.tasks() == Counter({task: 2 * count for task, count in whole.items()})
    assert written(tmp_path / "steps") == written(tmp_path / "whole")


def test_what_other_options_made_is_made_again(tmp_path: Path, source: RetrievalOptions) -> None:
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    with serving(know) as server:
        options = options_of(root, source, server.url, output)
        build_trajectories(options)
        server.asked.clear()
        build_trajectories(replace(options, num_candidates=3))
        tasks = server.tasks()
    assert set(tasks) == {"respond", "refine", "choose"}  # the rest is asked in the same words
    lines = JsonLines(output / FOLDER / "3_respond.jsonl")
    assert all(len(line["value"]["responses"]) == 3 for line in lines)
    assert len(list((output / FOLDER / "superseded").rglob("3_respond.jsonl"))) == 1


@pytest.mark.slow
def test_answers_are_shared_by_folders(tmp_path: Path, source: RetrievalOptions) -> None:
    root = write_questions(tmp_path / "toy")
    with serving(know) as server:
        for name in ("one", "two"):
            options = options_of(root, source, server.url, tmp_path / name)
            options.teacher.cache = str(tmp_path / "answers")
            build_trajectories(options)
            if name == "one":
                asked = len(server.asked)
        assert len(server.asked) == asked
    assert written(tmp_path / "one") == written(tmp_path / "two")


def test_a_server_that_goes_away_ends_the_run(tmp_path: Path, source: RetrievalOptions) -> None:
    """Nobody is quarantined for it, and what was answered is not asked again."""
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    is_away = True

    def script(asked):
        away = is_away and asked.task == "respond" and "boat 2" in asked.fields["question"]
        return Act(status=500) if away else know(asked)

    with serving(script) as server:
        options = options_of(root, source, server.url, output)
        with pytest.raises(EndpointUnavailable, match=r"status 500.*it goes on"):
            build_trajectories(options)
        is_away = False
        build_trajectories(options)
        build_trajectories(options_of(root, source, server.url, tmp_path / "whole"))
        half = [asked for asked in server.asked if asked.task == "select"]
    assert len(half) == 2 * (8 + 2)  # in two builds: a question each, and two corrections
    assert written(output) == written(tmp_path / "whole")


def test_a_setting_that_the_server_refuses_quarantines_nobody_for_good(tmp_path, source):
    root, output = write_questions(tmp_path / "toy", plain=12), tmp_path / "built"

    def script(asked):
        is_schema = asked.body.get("response_format", {}).get("type") == "json_schema"
        return Act(status=400) if is_schema else know(asked)

    with serving(script) as server:
        options = options_of(root, source, server.url, output, until=BuildStage.select)
        with pytest.raises(EndpointUnavailable, match=r"first 10 .*refused.*answer_format"):
            build_trajectories(options)
        plain = replace(options.teacher, answer_format=AnswerFormat.json_object)
        build_trajectories(replace(options, teacher=plain))
    outcomes = Counter(line["outcome"] for line in JsonLines(output / FOLDER / "1_select.jsonl"))
    assert outcomes == {"kept": 14, "without_search": 1, "quarantined": 2}


def test_what_was_mended_elsewhere_is_done_again_if_asked(tmp_path, source):
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    refuses = True

    def script(asked):
        return Act(status=400) if refuses and "boat 1" in asked.fields["question"] else know(asked)

    def refused() -> list[str]:
        lines = JsonLines(output / FOLDER / "1_select.jsonl")
        return [line["key"] for line in lines if line.get("reason") == "refused_request"]

    with serving(script) as server:
        options = options_of(root, source, server.url, output, until=BuildStage.select)
        build_trajectories(options)
        refuses = False
        build_trajectories(options)
        assert refused() == ["toy/1"]
        asked = len(server.asked)
        build_trajectories(replace(options, retry_quarantined=True))
        assert len(server.asked) == asked + 1  # the malformed one is in the cache
    assert refused() == []


def test_the_share_of_answers_without_search(tmp_path: Path, source: RetrievalOptions) -> None:
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    lines = (root / "train.jsonl").read_text().splitlines()
    more = [
        {"id": f"count{number}", "question": f"How many of {number} count?", "answer": "four"}
        for number in range(3)
    ]
    lines += [json.dumps(line) for line in more]
    (root / "train.jsonl").write_text("\n".join(lines) + "\n")
    kept_before: set[str] = set()
    with serving(know) as server:
        for share, kept in ((0.0, 0), (0.25, 1), (0.4, 2), (1.0, 4)):
            options = options_of(root, source, server.url, output, without_search_share=share)
            rows = build_trajectories(options).to_json()["questions"]
            ids = {line["id"] for line in JsonLines(output / "train.jsonl")}
            assert len(ids) == 3 + kept
            assert kept_before <= ids
            kept_before = ids
            row = next(row for row in rows if row["kind"] == "visual_counting")
            assert (row["without_search"], row["beyond_share"]) == (kept, 4 - kept)
        assert server.tasks()["select"] == 8 + 2 + 3  # in the first run


def test_silent_evidence_may_end_in_an_abstention(tmp_path, source):
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    with serving(know) as server:
        options = options_of(root, source, server.url, output, when_silent=WhenSilent.abstain)
        counts = build_trajectories(options)
    assert left_out(output) == {k: v for k, v in REASONS.items() if k != "silent"}
    (silent,) = [each for each in load(output, "train") if each.id == "toy/silent"]
    assert silent.conversation.messages[-1].parts[-1] == Text(text="I don't know")
    assert counts.abstained == {"toy": 1}
    assert "end in the abstention\ntoy  1" in counts.table()


def test_broken_records_are_listed(tmp_path: Path, source: RetrievalOptions) -> None:
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    good = (root / "train.jsonl").read_text()
    bad = [
        '{"id": "half',
        '{"id": "0", "question": "again?", "answer": "x"}',
        '{"id": "bare"}',
        '{"id": "9", "question": "Who made the boat 0?", "answer": "Guild0", "image": "no.png"}',
    ]
    (root / "train.jsonl").write_text(good + "\n".join(bad) + "\n")
    with serving(know) as server:
        options = options_of(root, source, server.url, output)
        build_trajectories(options)
        strict = options_of(
            root, source, server.url, tmp_path / "strict", on_error=OnError["raise"]
        )
        with pytest.raises(ValueError, match="on_error=quarantine leaves it out"):
            build_trajectories(strict)
    assert left_out(output) == REASONS | {
        "#8": ("select", "broken_record"),
        "#9": ("select", "duplicated_id"),
        "#10": ("select", "broken_record"),
        "9": ("select", "broken_image"),
    }


def test_a_question_that_changed_is_no_longer_the_one_that_was_selected(tmp_path, source):
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    with serving(know) as server:
        options = options_of(root, source, server.url, output)
        build_trajectories(options)
        text = (root / "train.jsonl").read_text()
        (root / "train.jsonl").write_text(
            text.replace("Who made the boat 1", "Who owns the boat 1")
        )
        with pytest.raises(ValueError, match=r"toy/1 has changed since it was selected"):
            build_trajectories(options)


def test_another_image_is_another_question(tmp_path, source):
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    with serving(know) as server:
        options = options_of(root, source, server.url, output)
        build_trajectories(options)
        text = (root / "train.jsonl").read_text()
        (root / "images" / "boat.png").rename(root / "images" / "ship.png")
        (root / "train.jsonl").write_text(text.replace("boat.png", "ship.png"))
        with pytest.raises(ValueError, match=r"has changed since it was selected"):
            build_trajectories(options)


def test_other_masks_in_the_same_file_are_grounded_anew(tmp_path, source):
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    with serving(know) as server:
        options = options_of(root, source, server.url, output)
        build_trajectories(options)
        (root / "masks.jsonl").write_text(
            '{"question": "toy/9", "phrase": "a", "mask": {"size": [1, 1], "counts": "1"}}\n'
        )
        build_trajectories(options)
    superseded = output / FOLDER / "superseded"
    assert {path.name for path in superseded.rglob("*.jsonl")} == {
        "6_ground.jsonl",
        "7_retrieve.jsonl",
    }


def test_what_is_held_out_is_not_built(tmp_path: Path, source: RetrievalOptions) -> None:
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    held_out = write_questions(tmp_path / "toy", plain=2, split="test")
    lines = (held_out / "test.jsonl").read_text().splitlines()
    (held_out / "test.jsonl").write_text(lines[1] + "\n")  # boat 1, which has no image
    apart = {"test": QuestionSourceOptions(reader="toy", root=str(root), split="test")}
    with serving(know) as server:
        build_trajectories(options_of(root, source, server.url, output, held_out=apart))
        assert not any("boat 1" in asked.fields["question"] for asked in server.asked)
    assert left_out(output) == REASONS | {"1": ("leaks", "leak_question")}


def test_what_is_held_out_needs_no_answers(tmp_path: Path, source: RetrievalOptions) -> None:
    """InfoSeek's test withholds them; one of its questions stands in train as well."""
    shutil.copytree(FIXTURES / "infoseek", tmp_path / "infoseek")
    shared = JsonLines(tmp_path / "infoseek" / "infoseek_train.jsonl")[1]
    left = {name: shared[name] for name in ("image_id", "question", "data_split")}
    hidden = {"data_id": "infoseek_test_00000000", **left}
    (tmp_path / "infoseek" / "infoseek_test.jsonl").write_text(json.dumps(hidden) + "\n")
    trained, apart = (
        QuestionSourceOptions(reader="infoseek", root=str(tmp_path / "infoseek"), split=split)
        for split in ("train", "test")
    )
    options = options_of(tmp_path, source, "http://127.0.0.1:9/v1", tmp_path / "built")
    options = replace(options, held_out={"test": apart})
    questions = Questions({"infoseek": trained})
    blocked, _ = blocked_questions(questions, HeldOut(options.held_out), options)
    assert {key: reason for key, (reason, _) in blocked.items()} == {
        f"infoseek/{shared['data_id']}": "leak_question"
    }


def test_a_broken_record_that_is_held_out_ends_the_run(tmp_path, source):
    root = write_questions(tmp_path / "toy")
    (root / "test.jsonl").write_text('{"id": "half\n')
    apart = {"test": QuestionSourceOptions(reader="toy", root=str(root), split="test")}
    options = options_of(root, source, "http://127.0.0.1:9/v1", tmp_path / "o", held_out=apart)
    with pytest.raises(ValueError, match=r"held_out\.test: .*test\.jsonl:1.*cannot be held out"):
        build_trajectories(options)


def test_all_seven_sets_can_be_built_from(tmp_path: Path, source: RetrievalOptions) -> None:
    """In their official layouts: what is held out of them, or has no answer, is left out."""

    def script(asked):
        return Act(text='{"needs_search": false, "kind": "visual_attribute"}')

    splits = {"oven": "entity_train", "crag_mm/single": "validation", "crag_mm/multi": "validation"}
    names = ("textvqa", "infoseek", "webqa", "okvqa", "aokvqa", *splits)
    sources = {name.replace("/", "_"): official(name, splits.get(name, "train")) for name in names}
    apart = {"textvqa": official("textvqa", "val"), "oven": official("oven", "query_val")}
    apart["crag_mm"] = official("crag_mm/single", "public_test")
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    with serving(script) as server:
        options = options_of(root, source, server.url, output, held_out=apart)
        counts = build_trajectories(replace(options, sources=sources))
        asked = [each.fields["question"] for each in server.asked]
    built = {(row["source"], row["without_search"] > 0) for row in counts.to_json()["questions"]}
    assert {(name, True) for name in sources} <= built
    examples = load(output, "train")
    assert len({example.id for example in examples}) == len(examples) >= 12
    for example in examples:
        assert example.load_image is None or example.load_image().size == (12, 8)
    held_out = {question.question for question in QUESTION_READERS["textvqa"](TEXTVQA, "val")}
    assert held_out.isdisjoint(asked)


TEXTVQA = FIXTURES / "textvqa"


def official(name: str, split: str) -> QuestionSourceOptions:
    reader = name.split("/")[0]
    return QuestionSourceOptions(reader=reader, root=str(FIXTURES / name), split=split)


def test_earlier_answers_are_context(tmp_path: Path, source: RetrievalOptions) -> None:
    root, output = write_questions(tmp_path / "toy", plain=0), tmp_path / "built"
    history = [["Is there a boat?", "yes"]]
    line = {"id": "0", "question": "Who made the boat 0?", "answer": "Guild0", "history": history}
    (root / "train.jsonl").write_text(json.dumps(line) + "\n")
    with serving(know) as server:
        build_trajectories(options_of(root, source, server.url, output))
        turns = [{"question": "Is there a boat?", "answer": "yes"}]
        assert all(asked.fields["earlier_turns"] == turns for asked in server.asked)
    (example,) = load(output, "train")
    assert [message.supervised for message in example.conversation.messages] == [
        True,
        False,
        True,
        True,
    ]


def test_a_dry_run_asks_and_writes_nothing(tmp_path, source, caplog):
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    with serving(know) as server, caplog.at_level("INFO"):
        build_trajectories(options_of(root, source, server.url, output, dry_run=True))
        assert server.asked == []
    assert not output.exists()
    assert "select" in caplog.text


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path, source: RetrievalOptions) -> None:
    from pixsearch.line_store import one_writer

    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    with one_writer(output), pytest.raises(ValueError, match="another run writes there"):
        build_trajectories(options_of(root, source, "http://127.0.0.1:9/v1", output))
