import os
import re
import time

import pytest

from pixsearch.evaluation.parted_lines import (
    PartedLines,
    manifest_of_parts,
    names_of_lines,
    read_parts,
)
from pixsearch.evaluation.processes import Place, one_run, place_in_run
from tests.evaluation.question_worlds import forked

MANIFEST = {"run": "this"}
TWO = [Place(rank=rank, count=2) for rank in range(2)]


def open_lines(path, place=TWO[0], manifest=None):
    return PartedLines(path, place, id_field="id", manifest=manifest or MANIFEST)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "full.jsonl"


def test_what_one_process_wrote_is_done_for_all(path):
    first, second = (open_lines(path, place) for place in TWO)
    first.append({"id": "a"})
    second.append({"id": "b"})
    assert sorted(one.name for one in path.parent.glob("*.jsonl")) == [
        "full.jsonl",
        "full.part-01.jsonl",
    ]
    alone = open_lines(path, Place())
    assert alone.done == {"a", "b"}
    assert [line["id"] for line in alone.lines()] == ["a", "b"]
    assert names_of_lines(path.parent) == ["full"]


def test_a_line_may_be_taken_out_of_anothers_file_while_that_is_written(path):
    first, second = (open_lines(path, place) for place in TWO)
    second.append({"id": "b"})
    first = open_lines(path)
    first.drop(lambda line: line["id"] == "b")
    second.append({"id": "c"})
    assert [line["id"] for line in read_parts(path, id_field="id")] == ["c"]


def test_a_line_is_not_lost_that_comes_while_others_are_taken_out(path):
    writer = open_lines(path, TWO[1])
    for name in "bc":
        writer.append({"id": name})
    told_at, tell_at = os.pipe()
    heard_at, hear_at = os.pipe()

    def append_when_told():
        os.read(told_at, 1)
        os.write(hear_at, b"!")
        writer.append({"id": "d"})

    child = forked(append_when_told)
    told = []

    def is_dropped(line):
        """Lines are being read, so the file will be written anew: a line may not come now."""
        if not told:
            told.append(os.write(tell_at, b"!"))
            os.read(heard_at, 1)
            wait_in_vain(child)
        return line["id"] == "b"

    open_lines(path).drop(is_dropped)
    assert os.waitpid(child, 0)[1] == 0
    for end in (told_at, tell_at, heard_at, hear_at):
        os.close(end)
    assert [line["id"] for line in read_parts(path, id_field="id")] == ["c", "d"]


def wait_in_vain(child):
    """Give a process time to end, which it does not while it waits for a lock."""
    for _ in range(50):
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it did not wait for the lock"
        time.sleep(0.01)


def test_a_line_in_two_files_is_refused(path):
    for place in TWO:
        (path.parent / f"{path.stem}.part-{place.rank:02d}.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(ValueError, match=r"'a' is in .*part-00\.jsonl too; remove one"):
        list(read_parts(path, id_field="id"))


def test_parts_of_another_run_are_set_aside_or_refused(path):
    open_lines(path, TWO[1], {"run": "this", "policy": "other"}).append({"id": "a"})
    assert open_lines(path).done == set()
    assert next(path.parent.glob("superseded/*/*.jsonl")).name == "full.part-01.jsonl"
    open_lines(path, TWO[1], MANIFEST).append({"id": "a"})
    path.write_text("")
    path.with_suffix(".manifest.json").write_text('{"run": "that"}')
    with pytest.raises(ValueError, match=re.escape("full.part-01.jsonl is of another run")):
        manifest_of_parts(path)


def test_the_environment_says_the_place(monkeypatch):
    assert place_in_run() == Place()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert place_in_run() == TWO[1]
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(ValueError, match="RANK=2 of WORLD_SIZE=2"):
        place_in_run()


def test_a_run_of_another_number_of_processes_is_kept_out(tmp_path):
    with one_run(tmp_path, TWO[1]), one_run(tmp_path, TWO[0]):
        for intruder in (Place(), TWO[1], Place(rank=2, count=3)):
            with pytest.raises(ValueError, match="another run writes there"):
                one_run(tmp_path, intruder).__enter__()
    with one_run(tmp_path, Place(rank=2, count=3)):
        pass
