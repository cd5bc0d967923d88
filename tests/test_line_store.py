import json

import pytest

from pixsearch.line_store import (
    SUPERSEDED,
    LineStore,
    drop_cut_line,
    manifest_path,
    one_writer,
    read_lines,
)

RUN = {"checkpoint": "one", "seed": 0}


def open_store(path, *, run=RUN, policy="full"):
    return LineStore(path, id_field="id", manifest={"run": run, "policy": {"name": policy}})


def test_lines_are_kept_and_not_done_again(tmp_path):
    path = tmp_path / "full.jsonl"
    open_store(path).append({"id": "a", "text": "tom\u2028jerry\n"})
    again = open_store(path)
    assert ("a" in again.done, len(again.done)) == (True, 1)
    again.append({"id": "b"})
    assert [line["id"] for line in read_lines(path, id_field="id")] == ["a", "b"]
    assert next(read_lines(path, id_field="id"))["text"] == "tom\u2028jerry\n"


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_line_cut_by_a_kill_is_done_again(tmp_path, cut):
    path = tmp_path / "full.jsonl"
    store = open_store(path)
    store.append({"id": "a"})
    store.append({"id": "b"})
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    assert [line["id"] for line in read_lines(path, id_field="id")] == ["a"]
    again = open_store(path)
    assert ("a" in again.done, len(again.done)) == (True, 1)
    again.append({"id": "b"})
    assert path.read_bytes() == content


@pytest.mark.parametrize("whole", [b"", b"{}\n", b"x" * 70_000 + b"\n"], ids=len)
@pytest.mark.parametrize("cut", [b"", b"{", b"y" * 65_536, b"y" * 200_000], ids=len)
def test_however_long_a_cut_line_is_it_alone_is_dropped(tmp_path, whole, cut):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(whole + cut)
    drop_cut_line(path)
    assert path.read_bytes() == whole


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "full.jsonl"
    open_store(path).append({"id": "a"})
    path.write_text(f"{path.read_text()}{{'id': \n")
    with pytest.raises(ValueError, match=r"full\.jsonl:2: no line with 'id'"):
        open_store(path)


def test_a_line_is_read_beside_its_own_manifest_alone(tmp_path):
    path, other = tmp_path / "full.jsonl", tmp_path / "other.jsonl"
    store = open_store(path)
    for name in "abc":
        store.append({"id": name})
    store.drop(lambda line: line == {"id": "b"})
    assert list(read_lines(path, id_field="id")) == [{"id": "a"}, {"id": "c"}]
    open_store(other, policy="other").append({"id": "x"})
    good = path.read_text()
    for foreign in (other.read_text(), '{"id": "of a version that did not say"}\n'):
        path.write_text(good + foreign)
        with pytest.raises(
            ValueError, match=r"full\.jsonl:3: made_by is .* move both files"
        ) as raised:
            open_store(path)
        assert "\n" not in str(raised.value)
    path.write_text(good)
    manifest_path(path).unlink()
    with pytest.raises(ValueError, match=r"full\.jsonl:1: made_by is \w+, that of .* is None"):
        list(read_lines(path, id_field="id"))


def test_an_id_twice_is_named(tmp_path):
    path = tmp_path / "full.jsonl"
    open_store(path).append({"id": "a"})
    path.write_text(2 * path.read_text())
    with pytest.raises(ValueError, match=r"full\.jsonl:2: 'a' occurs twice"):
        open_store(path)


def test_another_checkpoint_never_reuses_an_answer_of_any_policy(tmp_path):
    for policy in ("full", "no_search"):
        open_store(tmp_path / f"{policy}.jsonl", policy=policy).append({"id": "a"})
    other = open_store(tmp_path / "full.jsonl", run=RUN | {"checkpoint": "two"})
    assert len(other.done) == 0
    assert not (tmp_path / "no_search.jsonl").exists()
    kept = sorted(path.name for path in (tmp_path / SUPERSEDED).rglob("*.jsonl"))
    assert kept == ["full.jsonl", "no_search.jsonl"]


def test_another_policy_of_the_same_name_leaves_its_neighbours(tmp_path):
    open_store(tmp_path / "no_search.jsonl", policy="no_search").append({"id": "a"})
    open_store(tmp_path / "full.jsonl").append({"id": "a"})
    changed = LineStore(
        tmp_path / "full.jsonl",
        id_field="id",
        manifest={"run": RUN, "policy": {"name": "full", "k": 3}},
    )
    assert len(changed.done) == 0
    assert (tmp_path / "no_search.jsonl").exists()


def test_nothing_that_was_set_aside_is_written_over(tmp_path):
    path = tmp_path / "full.jsonl"
    for checkpoint in ("one", "two", "one", "two"):
        open_store(path, run={"checkpoint": checkpoint}).append({"id": "a"})
    assert len(list((tmp_path / SUPERSEDED).rglob("full.jsonl"))) == 3


def test_a_folder_has_one_writer(tmp_path):
    another = one_writer(tmp_path)
    with one_writer(tmp_path), pytest.raises(ValueError, match="another run writes there"):
        another.__enter__()
    with one_writer(tmp_path):
        pass


def test_lines_without_a_manifest_are_refused(tmp_path):
    path = tmp_path / "full.jsonl"
    open_store(path).append({"id": "a"})
    manifest_path(path).unlink()
    with pytest.raises(ValueError, match=r"full\.manifest\.json is missing"):
        open_store(path)


def test_the_manifest_is_plain_json(tmp_path):
    path = tmp_path / "full.jsonl"
    open_store(path)
    assert json.loads(manifest_path(path).read_text())["run"] == RUN
