"""Append-only JSON lines that survive a kill, with a manifest that says what they were made by."""

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pixsearch.key_table import KeyTable

logger = logging.getLogger(__name__)

LOCK = ".lock"
SUPERSEDED = "superseded"  # folder of files that other settings have made
MADE_BY = "made_by"  # the field of a line that names its manifest, by `_stamp`
_BLOCK_BYTES = 1 << 16  # read at a time from a file's end


class LineStore:
    """Lines of one kind, each with an id, that are kept from run to run.

    `NAME.manifest.json` beside `NAME.jsonl` names all that decides the lines. Lines made
    by anything else are never gone on with: the file is set aside in `superseded/`. Each line names
    its manifest, so that one without the other is known when it is read. A file is locked while it
    is changed, so that another process may take lines out of it too.

    Args:
        id_field: the field of a line that identifies it.
        manifest: plain values, among them `"run"`: what a folder's files share.
    """

    def __init__(self, path: Path, *, id_field: str, manifest: dict[str, Any]) -> None:
        self.path = path
        self._id_field = id_field
        self._stamp = {MADE_BY: _stamp(manifest)}
        path.parent.mkdir(parents=True, exist_ok=True)
        _set_aside_misfits(path, manifest)
        write_json(manifest_path(path), manifest)
        if path.exists():
            with _locked(path):
                drop_cut_line(path)
        self.done = _ids(path, id_field)

    def append(self, line: dict[str, Any]) -> None:
        """Write one line; when this returns, a kill of the process cannot lose it."""
        assert line[self._id_field] not in self.done
        with _locked(self.path) as file:
            file.write(json.dumps(line | self._stamp).encode() + b"\n")
        self.done.put(line[self._id_field])

    def drop(self, is_dropped: Callable[[dict[str, Any]], bool]) -> None:
        """Take lines out, so that what they are about is done again."""
        if not self.path.exists():
            return
        with _locked(self.path):
            lines = read_lines(self.path, id_field=self._id_field)
            aside, num_dropped = self.path.with_suffix(".partial"), 0
            with aside.open("w", encoding="utf-8") as file:
                for line in lines:
                    if is_dropped(line):
                        num_dropped += 1
                    else:
                        file.write(f"{json.dumps(line | self._stamp)}\n")
            if not num_dropped:
                aside.unlink()
                return
            aside.replace(self.path)
        self.done = _ids(self.path, self._id_field)


@contextmanager
def one_writer(folder: Path, *, option: str = "output_dir") -> Iterator[None]:
    """Keep other processes from writing to a folder; a kill lets go of it.

    Args:
        option: by which another folder is chosen.

    Raises:
        ValueError: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{folder}: another run writes there; wait for it, or set {option}"
            ) from error
        yield


def manifest_path(path: Path) -> Path:
    return path.with_suffix(".manifest.json")


def write_json(path: Path, value: Any) -> None:
    """Write a plain value; the file is never seen half written."""
    aside = path.with_suffix(".partial")
    aside.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    aside.replace(path)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a file of lines.

    Raises:
        ValueError: there is none, so that nobody knows what the lines were made by.
    """
    try:
        return json.loads(manifest_path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{manifest_path(path)} is missing or broken: remove {path.name} and run again"
        ) from error


def read_lines(path: Path, *, id_field: str) -> Iterator[dict[str, Any]]:
    """All whole lines; a last one that a kill has cut is left out.

    Raises:
        ValueError: another line is broken, an id occurs twice, or a line was made by something else
            than the manifest beside it says; names file and line.
    """
    if not path.exists():
        return
    seen, manifest = KeyTable(), manifest_path(path)
    stamp = _stamp(read_manifest(path)) if manifest.exists() else None
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            where = f"{path}:{number}"
            record = _parse(line, where, id_field)
            if (made_by := record.pop(MADE_BY, None)) != stamp:
                raise ValueError(
                    f"{where}: {MADE_BY} is {made_by}, that of {manifest.name} is {stamp}: a line "
                    "of another run, or of a version that did not say so; move both files away "
                    "and run again"
                )
            if record[id_field] in seen:
                raise ValueError(f"{where}: {record[id_field]!r} occurs twice; remove one line")
            seen.put(record[id_field])
            yield record


def digest(value: Any) -> str:
    """SHA-256 of a plain value, whatever the order of its keys.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _stamp(manifest: dict[str, Any]) -> str:
    """By which a line names its manifest."""
    return digest(manifest)[:12]


def _ids(path: Path, id_field: str) -> KeyTable:
    ids = KeyTable()
    for line in read_lines(path, id_field=id_field):
        ids.put(line[id_field])
    return ids


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """A file to append to, which no other process appends to or writes anew meanwhile."""
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(path, file):  # else it was written anew while we waited for the lock
                yield file
                return


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _parse(line: bytes, where: str, id_field: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
        if not isinstance(record[id_field], str):
            raise TypeError(f"its {id_field} is no text")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{where}: no line with {id_field!r} ({error!r}); remove the line"
        ) from error
    return record


def drop_cut_line(path: Path) -> None:
    """Take away a last line that a kill has cut. No more of the file is read than its end."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        whole = _end_of_last_line(file, end)
        if whole < end:
            logger.warning("%s: the last line was cut by a kill; what it said is done again", path)
            file.truncate(whole)


def _end_of_last_line(file: Any, end: int) -> int:
    """The place behind the last line's end; 0 if there is none."""
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _set_aside_misfits(path: Path, manifest: dict[str, Any]) -> None:
    """Move away this file if anything differs, and its neighbours if the run does."""
    for other in sorted(path.parent.glob("*.jsonl")):
        found = read_manifest(other)
        is_misfit = found["run"] != manifest["run"] or (other == path and found != manifest)
        if is_misfit:
            _set_aside(other, found)


def _set_aside(path: Path, manifest: dict[str, Any]) -> None:
    earlier = [folder.name.split("-")[0] for folder in (path.parent / SUPERSEDED).glob("*-*")]
    number = max(map(int, earlier), default=0) + 1  # no earlier one is written over
    folder = path.parent / SUPERSEDED / f"{number:03d}-{digest(manifest)[:12]}"
    folder.mkdir(parents=True)
    logger.warning("%s was made by something else; it now lies in %s", path, folder)
    path.replace(folder / path.name)  # the lines first: a manifest without them does no harm
    manifest_path(path).replace(folder / manifest_path(path).name)
