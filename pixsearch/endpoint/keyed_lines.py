"""An append-only file of records that are found by their key: what was paid for once is kept."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

from pixsearch.key_table import KeyTable
from pixsearch.line_store import drop_cut_line

Record = TypeVar("Record")


class KeyedLines(Generic[Record]):
    """A line per record. Safe for several threads, and against a kill; for one process at a time.

    In memory are hashes of the keys and where their lines begin. A key that is added again has its
    new record from then on. Of two keys with one hash (`KeyTable`) the later one alone is found.

    Args:
        record: a dataclass of plain values, one of them its `key`.

    Raises:
        ValueError: a line is none; names file and line.
    """

    def __init__(self, path: Path, record: Callable[..., Record]) -> None:
        self.path = path
        self._record = record
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        drop_cut_line(path)
        self._offsets = KeyTable()
        for offset, fields in _lines(path):
            self._offsets.put(fields["key"], offset)

    def __len__(self) -> int:
        return len(self._offsets)

    def get(self, key: str) -> Record | None:
        """The record of a key, if there is one."""
        with self._lock:
            offset = self._offsets.get(key)
        if offset is None:
            return None
        with self.path.open("rb") as file:
            file.seek(offset)
            fields = json.loads(file.readline())
        return self._record(**fields) if fields["key"] == key else None

    def add(self, record: Record) -> None:
        """Keep a record; when this returns, a kill of the process cannot lose it."""
        fields = asdict(record)
        line = json.dumps(fields, ensure_ascii=False).encode() + b"\n"
        with self._lock, self.path.open("ab") as file:
            self._offsets.put(fields["key"], file.tell())
            file.write(line)

    def __iter__(self) -> Iterator[Record]:
        return (self._record(**fields) for _, fields in _lines(self.path))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line and where it begins."""
    offset = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                fields = json.loads(line)
                if not isinstance(fields["key"], str):
                    raise TypeError("its key is no text")
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"{path}:{number}: no record ({error!r}); remove it") from error
            yield offset, fields
            offset += len(line)
