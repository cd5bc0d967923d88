"""The searcher that the options ask for: here, behind a server, or spread over several."""

import logging
from collections.abc import Iterator
from pathlib import Path

from pixsearch.config import RetrievalOptions, RetrievalSource
from pixsearch.queries import SearchFailed
from pixsearch.retrieval.caching import CachingSearcher
from pixsearch.retrieval.client import RemoteSearcher
from pixsearch.retrieval.crag_mm.searcher import CragMMSearcher
from pixsearch.retrieval.fan_out import FanOutSearcher
from pixsearch.retrieval.info import KnowledgeSource
from pixsearch.retrieval.recording import RecordingSearcher, ReplaySearcher
from pixsearch.retrieval.searcher import Searcher

logger = logging.getLogger(__name__)


def open_searcher(options: RetrievalOptions) -> KnowledgeSource:
    """A searcher that is ready to be asked, and that is recorded if the options say so.

    Raises:
        ValueError: an index is missing or does not fit, a URL is none, or servers with a part each
            do not fit each other.
        SearchFailed: a server does not answer.
    """
    if options.source is RetrievalSource.replay:
        return ReplaySearcher(Path(str(options.recording)))
    searcher = _open(options)
    if options.recording is None:
        return searcher
    return RecordingSearcher(searcher, Path(options.recording))


def _open(options: RetrievalOptions) -> KnowledgeSource:
    if options.server is not None:
        return _checked(RemoteSearcher(options.server, options.client), options.server)
    if options.fan_out:
        where = ", ".join(options.fan_out)
        return _checked(FanOutSearcher(options.fan_out, options.client), where)
    return open_local(options)


def open_local(options: RetrievalOptions) -> KnowledgeSource:
    """A searcher in this process, of our own indexes or of CRAG-MM's, with its cache of results.

    Raises:
        ValueError: an index is missing or does not fit.
    """
    opened = CragMMSearcher if options.source is RetrievalSource.crag_mm else Searcher
    searcher = opened.open(options)
    return CachingSearcher(searcher, options.cache_entries) if options.cache_entries else searcher


def close_searcher(searcher: KnowledgeSource) -> None:
    """Let go of a remote searcher's connections; a local one has none."""
    for layer in layers(searcher):
        if isinstance(layer, RemoteSearcher | FanOutSearcher):
            layer.close()


def layers(searcher: KnowledgeSource) -> Iterator[KnowledgeSource]:
    """A searcher, then what it asks in its turn, and so on to the one that finds."""
    yield searcher
    while isinstance(searcher, RecordingSearcher | CachingSearcher):
        searcher = searcher.source
        yield searcher


def _checked(searcher: KnowledgeSource, where: str) -> KnowledgeSource:
    """A remote searcher whose servers answer and fit each other; else it is closed."""
    try:
        info = searcher.info()
    except (SearchFailed, ValueError):
        close_searcher(searcher)
        raise
    names = ", ".join(info.manifests)
    logger.info("searching %d documents (%s) behind %s", info.num_documents, names, where)
    return searcher
