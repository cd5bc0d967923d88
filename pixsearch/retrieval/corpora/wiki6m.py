"""InfoSeek's Wikipedia (`Wiki6M_ver_1_0.jsonl.gz`): an article per line, its lead and all of it."""

from collections.abc import Iterator
from pathlib import Path

from pixsearch.retrieval.corpora.document import CorpusDocument
from pixsearch.retrieval.corpora.lines import read_records, text_of


def read_wiki6m(path: Path) -> Iterator[CorpusDocument]:
    """Whole articles by their Wikidata id; of one without content the summary.

    Images are addresses there (`wikipedia_image_url`) and do not come along.

    Raises:
        ValueError: a line is no article; names file and line.
    """
    for where, record in read_records(path):
        filled = [name for name in ("wikipedia_content", "wikipedia_summary") if record.get(name)]
        yield CorpusDocument(
            id=text_of(record, "wikidata_id", where),
            title=text_of(record, "wikipedia_title", where),
            contents=text_of(record, filled[0], where) if filled else "",
        )
