"""InfoSeek's Wikipedia (`Wiki6M_ver_1_0.jsonl.gz`), whole articles by their Wikidata id."""

from collections.abc import Iterator
from pathlib import Path

from pixsearch.retrieval.corpora.document import CorpusDocument
from pixsearch.retrieval.sources.wiki6m import read_wiki6m


def read_wiki6m_articles(path: Path) -> Iterator[CorpusDocument]:
    """Articles as they are; `scripts/prepare_knowledge.py` cuts them and fetches their images.

    Raises:
        ValueError: a line is no article; names file and line.
    """
    for article in read_wiki6m(path):
        yield CorpusDocument(id=article.id, title=article.title, contents=article.text)
