"""What the server counts, in a registry of its own: two servers in a process do not share it."""

from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pixsearch.retrieval.cache import ResultCache
from pixsearch.web.metrics import RequestMetrics

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
QUERIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics(RequestMetrics):
    """Counters of one server, for Prometheus."""

    def __init__(self) -> None:
        super().__init__(SECONDS)
        self.queries = Counter(
            "pixsearch_queries", "Queries searched, by type", ["type"], registry=self.registry
        )
        self.batch_queries = Histogram(
            "pixsearch_batch_queries",
            "Queries that were searched in one call",
            buckets=QUERIES,
            registry=self.registry,
        )
        self.search_seconds = Histogram(
            "pixsearch_search_seconds",
            "Seconds that one call of the searcher took",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.queue = Gauge(
            "pixsearch_queue_requests",
            "Requests taken on and not done with",
            registry=self.registry,
        )

    def watch(self, cache: ResultCache) -> None:
        """Tell also what came of the queries in the searcher's cache of results."""
        self.registry.register(_CacheCollector(cache))


class _CacheCollector(Collector):
    """Reads a cache's own counts whenever Prometheus asks."""

    def __init__(self, cache: ResultCache) -> None:
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        counts = self._cache.counts()
        outcomes = CounterMetricFamily(
            "pixsearch_cache_queries", "Queries by what the cache had of them", labels=["outcome"]
        )
        outcomes.add_metric(["hit"], counts.hits)
        outcomes.add_metric(["miss"], counts.misses)
        yield outcomes
        yield CounterMetricFamily(
            "pixsearch_cache_evictions", "Results dropped to make room", value=counts.evictions
        )
        yield GaugeMetricFamily(
            "pixsearch_cache_entries", "Results that are kept now", value=counts.entries
        )
