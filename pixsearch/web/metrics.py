"""What every server counts, in a registry of its own: two servers in a process do not share it."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest


class RequestMetrics:
    """Counters of one server, for Prometheus.

    Args:
        seconds: upper ends of the histogram of what requests took.
    """

    def __init__(self, seconds: Sequence[float]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "pixsearch_requests",
            "Requests by path and status of the reply",
            ["path", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "pixsearch_request_seconds",
            "Seconds from a request to the end of its reply",
            ["path"],
            buckets=seconds,
            registry=self.registry,
        )

    def count(self, path: str, status: int, seconds: float) -> None:
        """One request has got its reply."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
