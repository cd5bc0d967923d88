"""Answers that were paid for, kept on disk: no request is paid for twice."""

import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pixsearch.line_store import drop_cut_line


@dataclass(frozen=True, kw_only=True)
class PaidAnswer:
    """An answer as it came.

    Attributes:
        key: digest of model, prompt and request.
        is_metered: the tokens are the server's count; else they are an estimate.
    """

    key: str
    task: str
    prompt: str
    text: str
    is_cut: bool
    input_tokens: int
    output_tokens: int
    is_metered: bool


class AnswerCache:
    """An append-only file of answers. Safe for several threads, and against a kill.

    In memory are the keys and where their lines begin.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        drop_cut_line(path)
        self._offsets: dict[str, int] = {}
        for offset, record in _lines(path):
            self._offsets[record["key"]] = offset

    def __len__(self) -> int:
        return len(self._offsets)

    def get(self, key: str) -> PaidAnswer | None:
        """The answer to a request, if it was ever asked."""
        with self._lock:
            offset = self._offsets.get(key)
        if offset is None:
            return None
        with self.path.open("rb") as file:
            file.seek(offset)
            return PaidAnswer(**json.loads(file.readline()))

    def add(self, answer: PaidAnswer) -> None:
        """Keep an answer; when this returns, a kill of the process cannot lose it."""
        line = json.dumps(asdict(answer), ensure_ascii=False).encode() + b"\n"
        with self._lock, self.path.open("ab") as file:
            self._offsets[answer.key] = file.tell()
            file.write(line)

    def __iter__(self) -> Iterator[PaidAnswer]:
        return (PaidAnswer(**record) for _, record in _lines(self.path))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line and where it begins.

    Raises:
        ValueError: another line is no answer; names file and line.
    """
    offset = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                record["key"]
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"{path}:{number}: no answer ({error!r}); remove it") from error
            yield offset, record
            offset += len(line)
