"""JSON lines, plain or gzip, as a stream."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """("file:line", object) of every line that is not blank.

    Raises:
        ValueError: a line is no JSON object, or the file is cut off; names file and line.
    """
    number = 0
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}:{number}", _record(line, f"{path}:{number}")
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; source names the corpus to import") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}:{number + 1}: {error}; fetch the file again") from error


def text_of(record: dict[str, Any], name: str, where: str) -> str:
    """A field that must be a text.

    Raises:
        ValueError: it is missing or none.
    """
    if not isinstance(record.get(name), str):
        raise ValueError(f"{where}: {name} is {record.get(name)!r}, not a text; mend it there")
    return record[name]


def id_of(record: dict[str, Any], where: str) -> str:
    """The id, a text or a number.

    Raises:
        ValueError: it is missing, or something else.
    """
    id = record.get("id")
    if isinstance(id, bool) or not isinstance(id, str | int):
        raise ValueError(f"{where}: id is {id!r}, neither a text nor a number; mend it there")
    return str(id)


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: no JSON ({error}); mend the line") from error
    if not isinstance(record, dict):
        raise ValueError(f"{where}: a {type(record).__name__}, not an object; mend the line")
    return record
