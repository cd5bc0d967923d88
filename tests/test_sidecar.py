"""Where the lines of a long file begin is found once, and never believed of another file."""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pixsearch.datasets import files
from pixsearch.datasets.files import JsonLines, line_offsets, line_starts

ROOT = Path(__file__).parents[1]
NOBODY = 65534


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Remember even short files; the list grows by each file that is read as a whole."""
    found: list[Path] = []
    scan = line_offsets
    monkeypatch.setattr(files, "REMEMBERED_FROM", 1)
    monkeypatch.setattr(files, "line_offsets", lambda path: found.append(path) or scan(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return write(folder / "train.jsonl", 50)


def write(path: Path, num_lines: int, word: str = "word") -> Path:
    path.write_text("".join(f'{{"id": {row}, "text": "{word}"}}\n' for row in range(num_lines)))
    return path


def in_folder(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def test_a_long_file_is_read_once(path: Path, scans: list[Path]) -> None:
    first = line_starts(path)
    again = line_starts(path)
    assert scans == [path]
    assert again.tolist() == first.tolist() == line_offsets(path).tolist()
    assert isinstance(again.base, np.memmap)
    assert JsonLines(path)[17]["id"] == 17
    assert in_folder(path) == ["train.jsonl", "train.jsonl.lines.npy"]


def test_a_short_file_leaves_nothing_behind(path: Path) -> None:
    assert len(line_starts(path)) == 50
    assert in_folder(path) == ["train.jsonl"]


@pytest.mark.parametrize("what", ["size", "time", "end", "beginning"])
def test_a_changed_file_is_read_again(
    path: Path, scans: list[Path], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A change of content that leaves size and time as they were is seen at the file's ends."""
    line_starts(path)
    stat, content = path.stat(), path.read_text()
    if what == "size":
        path.write_text(content + '{"id": 50}\n')
    elif what == "beginning":
        path.write_text(content.replace('{"id": 0, "text": "word"}', '{"id": 0,\n"text": "word"}'))
    elif what == "end":
        path.write_text(content[:-10] + "\n" + content[-9:])
    time = stat.st_mtime_ns + (what == "time")
    os.utime(path, ns=(stat.st_atime_ns, time))
    assert line_starts(path).tolist() == line_offsets(path).tolist()
    assert scans == [path, path]
    assert "of an earlier state of the file; it is made anew" in caplog.text
    line_starts(path)
    assert scans == [path, path]


def _flip(content: bytes) -> bytes:
    return content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]


DAMAGES = {
    "a bit": (_flip, "checksum"),
    "the end": (lambda content: content[:-8], ""),
    "all but the head": (lambda content: content[:128], ""),
    "everything": (lambda content: b"", ""),
    "the format": (lambda content: b"no array", ""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_anew(
    path: Path, scans: list[Path], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = line_starts(path).tolist()
    index = path.with_name("train.jsonl.lines.npy")
    change, reason = DAMAGES[damage]
    index.write_bytes(change(index.read_bytes()))
    assert line_starts(path).tolist() == first
    assert scans == [path, path]
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert reason in record.message
    assert "made anew" in record.message
    assert line_starts(path).tolist() == first
    assert scans == [path, path]


def test_another_array_is_not_taken_for_it(path: Path, scans: list[Path]) -> None:
    np.save(path.with_name("train.jsonl.lines.npy"), np.zeros((3, 3)))
    assert len(line_starts(path)) == 50
    assert scans == [path]


@pytest.fixture
def read_only(scans: list[Path]) -> Iterator[Path]:
    """A file in a folder that may not be written to; also where the tests run as root."""
    folder = Path(tempfile.mkdtemp())
    cache = Path(tempfile.mkdtemp())
    os.environ["XDG_CACHE_HOME"] = str(cache)  # `scans` puts back what was there
    path = write(folder / "train.jsonl", 20)
    folder.chmod(0o555)
    cache.chmod(0o777)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield path
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)
        shutil.rmtree(cache)


def test_beside_a_read_only_folder_it_lies_in_the_cache(read_only: Path, scans: list[Path]) -> None:
    first = line_starts(read_only).tolist()
    assert line_starts(read_only).tolist() == first
    assert scans == [read_only]
    assert in_folder(read_only) == ["train.jsonl"]


def test_where_nothing_can_be_written_it_is_read_again(
    read_only: Path, scans: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    os.environ["XDG_CACHE_HOME"] = str(read_only.parent / "cache")
    first = line_starts(read_only).tolist()
    assert line_starts(read_only).tolist() == first
    assert scans == [read_only, read_only]
    assert "opening stays slow" in caplog.text


OPEN_OFTEN = """
import sys
from pathlib import Path
from pixsearch import sidecar
path = Path(sys.argv[1])
sys.stdin.readline()
for _ in range(80):
    stamp = sidecar.Stamp.of(path)
    found = sidecar.remembered(path, ".lines.npy", stamp)
    assert found is None or (len(found) == 20_000 and int(found[-1]) == 19_999), found
    sidecar.remember(path, ".lines.npy", stamp, sidecar.np.arange(20_000))
"""


def test_two_processes_at_once_see_all_or_nothing(path: Path) -> None:
    """Both write while both read; neither ever sees a part."""
    commands = [[sys.executable, "-c", OPEN_OFTEN, str(path)] for _ in range(2)]
    streams = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, **streams) for command in commands]
    for process in processes:
        process.stdin.write("begin\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert errors == ["", ""]  # not even a warning of something damaged
    assert in_folder(path) == ["train.jsonl", "train.jsonl.lines.npy"]
