"""What the server of answers counts, in a registry of its own."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pixsearch.generation.engine import Engine
from pixsearch.generation.online import OnlineEngine
from pixsearch.web.metrics import RequestMetrics

SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0)


class ChatMetrics(RequestMetrics):
    """Counters of one server, for Prometheus."""

    def __init__(self, engine: Engine, online: OnlineEngine) -> None:
        super().__init__(SECONDS)
        self.registry.register(_EngineCollector(engine, online))


class _EngineCollector(Collector):
    """Reads the engine's own counts whenever Prometheus asks."""

    def __init__(self, engine: Engine, online: OnlineEngine) -> None:
        self._engine = engine
        self._online = online

    def collect(self) -> Iterator[Metric]:
        counts = CounterMetricFamily(
            "pixsearch_engine", "What the engine did, see EngineStats", labels=["what"]
        )
        for name, value in self._engine.stats.as_dict().items():
            counts.add_metric([name], value)
        yield counts
        requests = GaugeMetricFamily(
            "pixsearch_engine_requests", "Requests in the engine", labels=["state"]
        )
        requests.add_metric(["waiting"], self._online.num_waiting)
        requests.add_metric(["running"], self._online.num_running)
        yield requests
