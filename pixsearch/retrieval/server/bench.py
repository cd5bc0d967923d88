"""Many clients at once against a server in a process of its own: is any reply wrong or lost?"""

import json
import logging
import multiprocessing
import os
import random
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from pixsearch.config import (
    BenchServerOptions,
    ClientOptions,
    RetrievalOptions,
    ServeRetrieverOptions,
)
from pixsearch.queries import Passage, Query, SearchFailed
from pixsearch.retrieval.client import RemoteSearcher
from pixsearch.retrieval.hits import SCORE_DECIMALS
from pixsearch.retrieval.searcher import Searcher
from pixsearch.retrieval.server.bench_world import make_questions, make_world
from pixsearch.retrieval.server.serve import serve

logger = logging.getLogger(__name__)

PERCENTILES = (50, 90, 99, 99.9)
START_SECONDS = 120.0  # within which the server has loaded
ANSWERED = re.compile(r'pixsearch_requests_total\{path="/retrieve",status="200"\} ([\d.]+)')


@dataclass(kw_only=True)
class ClientCount:
    """What one client saw.

    Attributes:
        latencies: milliseconds of each request that was answered.
        wrong: answers that are not what a local searcher finds (`is_same`).
        failures: why requests were not answered.
    """

    latencies: list[float] = field(default_factory=list)
    wrong: int = 0
    failures: list[str] = field(default_factory=list)


def measure(options: BenchServerOptions) -> dict[str, Any]:
    """Start a server, ask it for `seconds` with all clients, stop it; write and return the result.

    Raises:
        RuntimeError: an answer was wrong, or a request was lost.
    """
    with tempfile.TemporaryDirectory() as folder:
        retrieval = make_world(Path(folder), options)
        questions = make_questions(options)
        expected = Searcher.open(retrieval).search(questions, k=options.k)
        with running_server(options, retrieval) as url:
            started = time.perf_counter()
            counts = _ask(options, url, questions, expected)
            seconds = time.perf_counter() - started
            answered = answered_requests(url)
    result = _result(options, counts, answered=answered, seconds=seconds)
    path = Path(options.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    logger.info("%s\n%s", path, json.dumps(result, indent=2))
    if result["wrong"] or result["lost"] or result["failures"]:
        raise RuntimeError(f"answers that are wrong, or requests that were lost: see {path}")
    return result


@contextmanager
def running_server(options: BenchServerOptions, retrieval: RetrievalOptions) -> Iterator[str]:
    """The URL of a server in a new process, which is stopped as an operator stops it."""
    port = options.server.port or _free_port()
    server = replace(options.server, port=port)
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(ServeRetrieverOptions(server=server, retrieval=retrieval),)
    )
    process.start()
    url = f"http://{server.host}:{port}"
    try:
        wait_until_ready(url, process)
        yield url
    finally:
        process.terminate()
        process.join(server.drain_seconds)


def wait_until_ready(url: str, process: multiprocessing.process.BaseProcess) -> None:
    """Wait until the server has loaded.

    Raises:
        RuntimeError: it ended, or does not become ready.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.is_alive():
        try:
            if httpx.get(f"{url}/ready", trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            logger.debug("%s does not listen yet", url)
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not become ready within {START_SECONDS:g} s, or has ended")


def _ask(
    options: BenchServerOptions,
    url: str,
    questions: Sequence[Query],
    expected: Sequence[list[Passage]],
) -> list[ClientCount]:
    """All clients, each in a thread with a connection of its own, until the time is up."""
    counts = [ClientCount() for _ in range(options.num_clients)]
    deadline = time.monotonic() + options.seconds
    threads = [
        threading.Thread(
            target=_ask_until,
            args=(deadline, count, options, url, questions, expected, options.seed + number),
        )
        for number, count in enumerate(counts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def _ask_until(
    deadline: float,
    count: ClientCount,
    options: BenchServerOptions,
    url: str,
    questions: Sequence[Query],
    expected: Sequence[list[Passage]],
    seed: int,
) -> None:
    generator = random.Random(seed)
    with RemoteSearcher(url, ClientOptions(retries=0)) as searcher:
        while time.monotonic() < deadline:
            places = generator.sample(range(len(questions)), options.queries_per_request)
            started = time.perf_counter()
            try:
                found = searcher.search([questions[place] for place in places], k=options.k)
            except SearchFailed as failed:
                count.failures.append(str(failed))
                continue
            count.latencies.append(1000 * (time.perf_counter() - started))
            wanted = [expected[place] for place in places]
            count.wrong += not all(map(is_same, found, wanted))


def is_same(found: Sequence[Passage], expected: Sequence[Passage]) -> bool:
    """Whether these are the same passages in the same order, with the same scores.

    An encoder's sums hang on what else is in the batch, by less than a unit of a score's last
    decimal; a score that lies at the edge of two is rounded to either.
    """
    unscored = [[replace(each, score=0.0) for each in passages] for passages in (found, expected)]
    apart = [abs(a.score - b.score) for a, b in zip(found, expected, strict=False)]
    return unscored[0] == unscored[1] and max(apart, default=0.0) < 1.5 * 10**-SCORE_DECIMALS


def answered_requests(url: str) -> int:
    """How many requests the server itself says that it answered."""
    found = ANSWERED.search(httpx.get(f"{url}/metrics", trust_env=False).text)
    return int(float(found[1])) if found else 0


def _result(
    options: BenchServerOptions, counts: Sequence[ClientCount], *, answered: int, seconds: float
) -> dict[str, Any]:
    latencies = np.array([latency for count in counts for latency in count.latencies])
    failures = [reason for count in counts for reason in count.failures]
    return {
        "requests": len(latencies) + len(failures),
        "answered": len(latencies),
        "wrong": sum(count.wrong for count in counts),
        "lost": abs(answered - len(latencies)),
        "failures": sorted(set(failures)),
        "least_of_a_client": min(len(count.latencies) for count in counts),
        "seconds": round(seconds, 2),
        "requests_per_second": round(len(latencies) / seconds, 1),
        "queries_per_second": round(options.queries_per_request * len(latencies) / seconds, 1),
        "latency_ms": _percentiles(latencies),
        "cpus": os.cpu_count(),
        "options": {**asdict(options), "paths": None},
    }


def _percentiles(latencies: np.ndarray) -> dict[str, float]:
    if len(latencies) == 0:
        return {}
    values = np.percentile(latencies, PERCENTILES)
    named = {f"p{name:g}": round(float(v), 1) for name, v in zip(PERCENTILES, values, strict=True)}
    return {**named, "max": round(float(latencies.max()), 1)}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
