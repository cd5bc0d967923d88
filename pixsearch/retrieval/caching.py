"""A searcher that keeps what was found, in front of any other of this process."""

from collections.abc import Sequence

from pixsearch.config import RegionCrop
from pixsearch.queries import Passage, Query, check_k
from pixsearch.retrieval.cache import ResultCache
from pixsearch.retrieval.info import KnowledgeSource, SourceInfo, digest_of


class CachingSearcher:
    """Asks a source for what it has not been asked lately.

    For sources that stay as they are while they are open: an index behind a server may be another
    one the next time.

    Attributes:
        source: that is asked.
        cache: of its results.
    """

    def __init__(self, source: KnowledgeSource, entries: int) -> None:
        """
        Args:
            entries: results that are kept.
        """
        self.source = source
        self.cache = ResultCache(entries, index=digest_of(source.info()))

    def search(
        self,
        queries: Sequence[Query],
        k: int = 5,
        *,
        region_crop: RegionCrop = RegionCrop.masked_crop,
    ) -> list[list[Passage]]:
        """What the source finds; what failed there fails here."""
        check_k(k)
        return self.cache.search(
            queries,
            k,
            region_crop,
            lambda missing: self.source.search(missing, k, region_crop=region_crop),
        )

    def info(self) -> SourceInfo:
        return self.source.info()
