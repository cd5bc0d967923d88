"""The members of one large JSON object, one after the other."""

import json
from collections.abc import Iterator
from io import TextIOBase
from pathlib import Path
from typing import Any

CHUNK = 1 << 20  # characters read at a time
LONGEST_MEMBER = 1 << 26  # characters; more without an end means that the file is broken
BLANKS = " \t\r\n"


def read_members(file: TextIOBase, path: Path) -> Iterator[tuple[str, Any]]:
    """(key, value) of each member of the object that a file holds. One member is in memory.

    Raises:
        ValueError: it is no object, is cut off or broken; names file and member.
    """
    text = _Text(file, path)
    text.expect("{")
    while text.peek() != "}":
        key = text.value()
        if not isinstance(key, str):
            text.refuse(f"{str(key)[:40]} is no key")
        text.expect(":")
        yield key, text.value()
        if text.peek() != "}":
            text.expect(",")
    text.expect("}")
    if text.peek():
        text.refuse(f"{text.peek()!r} behind its end")


class _Text:
    """The text from a place in the file on, read on when it does not reach."""

    def __init__(self, file: TextIOBase, path: Path) -> None:
        self._file = file
        self._path = path
        self._text = ""
        self._start = 0  # of what is not consumed, in _text
        self._num_values = 0
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is not blank; "" at the end."""
        while True:
            while self._start < len(self._text):
                if (found := self._text[self._start]) not in BLANKS:
                    return found
                self._start += 1
            if not self._read(CHUNK):
                return ""

    def expect(self, character: str) -> None:
        if (found := self.peek()) != character:
            self.refuse(f"{character!r} should be where {found!r} is")
        self._start += 1

    def value(self) -> Any:
        """The next key or value: a text, an object or a list, which all show where they end."""
        if (found := self.peek()) not in ('"', "{", "["):
            self.refuse(f"a text, object or list should be where {found!r} is")
        wanted = CHUNK
        while True:
            try:
                value, self._start = self._decoder.raw_decode(self._text, self._start)
            except json.JSONDecodeError as error:
                # Ever larger pieces, so that a long member is not parsed anew for each chunk.
                if len(self._text) - self._start > LONGEST_MEMBER or not self._read(wanted):
                    self.refuse(str(error))
                wanted *= 2
            else:
                self._num_values += 1
                return value

    def refuse(self, reason: str) -> None:
        raise ValueError(
            f"{self._path}: {reason}, behind {self._num_values // 2} members of its object: the "
            "file is cut off or broken, fetch it again"
        )

    def _read(self, size: int) -> bool:
        more = self._file.read(size)
        self._text = self._text[self._start :] + more
        self._start = 0
        return bool(more)
