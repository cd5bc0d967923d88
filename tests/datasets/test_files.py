import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixsearch.datasets import files
from pixsearch.datasets.files import JsonLines, line_offsets
from tests.datasets.builders import briefly


@briefly
@given(lines=st.lists(st.binary(max_size=5).map(lambda b: b.replace(b"\n", b"")), min_size=1))
def test_offsets_are_where_lines_begin(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    content = b"\n".join(lines) + b"\n"
    path.write_bytes(content)
    starts = [0, *(place + 1 for place, byte in enumerate(content[:-1]) if byte == ord("\n"))]
    assert line_offsets(path).tolist() == starts


def test_offsets_do_not_hang_on_the_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"aa\nb\n\nccc")
    whole = line_offsets(path).tolist()
    monkeypatch.setattr(files, "_CHUNK_BYTES", 3)
    assert line_offsets(path).tolist() == whole == [0, 3, 5, 6]


def test_json_lines_cross_into_workers(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    lines = pickle.loads(pickle.dumps(JsonLines(path)))
    assert [record["a"] for record in lines] == [1, 2]
    assert lines[-1] == {"a": 2}
    with pytest.raises(IndexError):
        lines[2]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.touch()
    assert len(JsonLines(path)) == 0


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.jsonl: no such file"):
        JsonLines(tmp_path / "x.jsonl")
