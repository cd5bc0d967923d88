"""Title and text of a record, whichever fields they stand in: `title`, `text`, `contents`."""

from typing import Any

from pixsearch.retrieval.corpora.lines import text_of

QUOTE = '"'


def title_and_text(record: dict[str, Any], where: str) -> tuple[str, str]:
    """A record's title, "" if it has none, and its text without the title.

    `contents` may begin with the title in a line of its own. `text` never does.

    Raises:
        ValueError: there is no text, or a field holds something else.
    """
    title = None if record.get("title") is None else text_of(record, "title", where)
    if record.get("contents") is None or (title is not None and record.get("text") is not None):
        return title or "", text_of(record, "text", where)
    contents = text_of(record, "contents", where)
    return split_title(contents) if title is None else (title, without_title(contents, title))


def split_title(contents: str) -> tuple[str, str]:
    """Title and text of Search-R1's `contents`; without a quoted first line there is no title.

    >>> split_title('"Aaron"\\nAaron is a prophet.')
    ('Aaron', 'Aaron is a prophet.')
    >>> split_title('Aaron is a prophet.')
    ('', 'Aaron is a prophet.')
    """
    first, newline, rest = contents.partition("\n")
    first = first.strip()
    if newline and len(first) >= 2 and first[0] == first[-1] == QUOTE:
        return first[1:-1], rest
    return "", contents


def without_title(contents: str, title: str) -> str:
    """`contents` without a first line that is the title, in quotes or not.

    >>> without_title("Aaron\\nAaron is a prophet.", "Aaron")
    'Aaron is a prophet.'
    >>> without_title('"Lead us."\\nSo they said.', "Aaron")
    '"Lead us."\\nSo they said.'
    """
    first, newline, rest = contents.partition("\n")
    return rest if newline and _bare(first) == _bare(title) else contents


def _bare(line: str) -> str:
    """Without quotes: those in a title are doubled or not in a quoted line, as projects like it."""
    return line.replace(QUOTE, "").strip()
