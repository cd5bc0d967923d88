"""Wiki6M, the six million Wikipedia articles (dump of 2022-10-01) of OVEN and InfoSeek.

A line of Wiki6M_ver_1_0.jsonl.gz has `wikidata_id`, `wikipedia_title`, `wikipedia_content`,
`wikipedia_summary` and `wikipedia_image_url` (the infobox's), the last three null or "" where the
article lacks them.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixsearch.retrieval.sources.article import Article

GZIP = b"\x1f\x8b"


def read_wiki6m(path: Path) -> Iterator[Article]:
    """All articles in the file's order, read as they are asked for; packed by gzip or not.

    The text is the whole content; the summary stands in where there is no content.

    Raises:
        ValueError: the file is missing or cut off, or a line is not Wiki6M's; names file and line.
    """
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            try:
                yield _article(json.loads(line))
            except (ValueError, KeyError) as error:
                raise ValueError(
                    f"{path}:{number}: {_reason(error)}; expected Wiki6M_ver_1_0.jsonl or .jsonl.gz"
                ) from error


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            is_packed = file.read(len(GZIP)) == GZIP
        with gzip.open(path) if is_packed else path.open("rb") as file:
            yield from file
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: data/README.md says whence") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is cut off or corrupt ({error}): fetch it again") from error


def _article(record: Any) -> Article:
    if not isinstance(record, dict):
        raise ValueError("not an object of fields")
    content = _text(record, "wikipedia_content")
    return Article(
        id=_text(record, "wikidata_id", required=True),
        title=_text(record, "wikipedia_title", required=True),
        text=content or _text({"wikipedia_summary": None} | record, "wikipedia_summary"),
        image_url=_text({"wikipedia_image_url": None} | record, "wikipedia_image_url") or None,
    )


def _text(record: dict[str, Any], name: str, *, required: bool = False) -> str:
    """A field without the white space around it; null is ""."""
    value = "" if record[name] is None else record[name]
    if not isinstance(value, str) or (required and not value.strip()):
        raise ValueError(f"{name} is {value!r}, not a text")
    return value.strip()


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return str(error).splitlines()[0]
