"""JSON lines as Search-R1 and FlashRAG have them (`.jsonl`, `.jsonl.gz`).

{"id": "0", "contents": "\\"Title\\"\\nText"}         the title in quotes on the first line
{"id": "0", "title": "Title", "text": "Text"}
"""

from collections.abc import Iterator
from pathlib import Path

from pixsearch.retrieval.corpora.document import CorpusDocument
from pixsearch.retrieval.corpora.lines import id_of, read_records, text_of


def read_json_lines(path: Path) -> Iterator[CorpusDocument]:
    """
    Raises:
        ValueError: a line of neither form; names file and line.
    """
    for where, record in read_records(path):
        if "contents" in record:
            title, contents = split_title(text_of(record, "contents", where))
            title = text_of(record, "title", where) if "title" in record else title
        else:
            title = text_of(record, "title", where)
            contents = text_of(record, "text", where)
        yield CorpusDocument(id=id_of(record, where), title=title, contents=contents)


def split_title(contents: str) -> tuple[str, str]:
    """Title and text of Search-R1's `contents`; without a quoted first line there is no title.

    >>> split_title('"Aaron"\\nAaron is a prophet.')
    ('Aaron', 'Aaron is a prophet.')
    >>> split_title('Aaron is a prophet.')
    ('', 'Aaron is a prophet.')
    """
    first, newline, rest = contents.partition("\n")
    first = first.strip()
    if newline and len(first) >= 2 and first[0] == first[-1] == '"':
        return first[1:-1], rest
    return "", contents
