"""Public sources of knowledge, made into knowledge bases. A new one: a file, a line, a YAML."""

from collections.abc import Callable, Iterator
from pathlib import Path

from pixsearch.retrieval.sources.article import Article
from pixsearch.retrieval.sources.wiki6m import read_wiki6m

READERS: dict[str, Callable[[Path], Iterator[Article]]] = {
    "wiki6m": read_wiki6m,
}
