"""JSON lines as Search-R1 and FlashRAG have them (`.jsonl`, `.jsonl.gz`).

{"id": "0", "contents": "\\"Title\\"\\nText"}         the title in quotes on the first line
{"id": "0", "title": "Title", "text": "Text"}        FlashRAG has `contents` beside them, of both
"""

from collections.abc import Iterator
from pathlib import Path

from pixsearch.retrieval.corpora.document import CorpusDocument
from pixsearch.retrieval.corpora.lines import id_of, read_records
from pixsearch.retrieval.corpora.titles import title_and_text


def read_json_lines(path: Path) -> Iterator[CorpusDocument]:
    """
    Raises:
        ValueError: a line without a text; names file and line.
    """
    for where, record in read_records(path):
        title, text = title_and_text(record, where)
        yield CorpusDocument(id=id_of(record, where), title=title, contents=text)
