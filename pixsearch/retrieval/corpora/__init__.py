"""Corpora of other projects. A new one: a file here that yields documents, a line in READERS."""

from collections.abc import Callable, Iterator
from pathlib import Path

from pixsearch.retrieval.corpora.document import CorpusDocument
from pixsearch.retrieval.corpora.encyclopedic_vqa import read_encyclopedic_vqa
from pixsearch.retrieval.corpora.json_lines import read_json_lines
from pixsearch.retrieval.corpora.parquet import read_parquet
from pixsearch.retrieval.corpora.wiki6m import read_wiki6m_articles

READERS: dict[str, Callable[[Path], Iterator[CorpusDocument]]] = {
    "json_lines": read_json_lines,
    "encyclopedic_vqa": read_encyclopedic_vqa,
    "wiki6m": read_wiki6m_articles,
    "parquet": read_parquet,
}
"""Each streams a file: what it holds in memory does not grow with the file."""
