"""The server as it is started, killed and stopped, in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from pixsearch.config import BenchServerOptions, ClientOptions, RetrievalOptions
from pixsearch.queries import Query, SearchFailed
from pixsearch.retrieval.client import RemoteSearcher
from pixsearch.retrieval.server.bench import answered_requests, measure
from tests.commands import ROOT, run_script
from tests.retrieval import serving

pytestmark = pytest.mark.slow

VEXLIN = [Query.of_text("Vexlin")]
CLIENT = ClientOptions(retries=1, backoff_seconds=0.01, breaker_failures=3, breaker_seconds=0.5)


def overrides(options: RetrievalOptions, port: int) -> list[str]:
    image_encoder = options.image_encoder
    return [
        "retrieval=miniature",
        f"retrieval.knowledge_base={options.knowledge_base}",
        f"retrieval.index={options.index}",
        "retrieval.text_encoder.dimension=256",
        f"retrieval.image_encoder.model={image_encoder.model}",
        f"retrieval.image_encoder.dimension={image_encoder.dimension}",
        f"server.port={port}",
    ]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def started(options: RetrievalOptions, port: int) -> Iterator[subprocess.Popen[str]]:
    """The process of a server that is ready."""
    command = [sys.executable, "scripts/serve_retriever.py", *overrides(options, port)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        serving.until(lambda: is_ready(port) or process.poll() is not None, patience=120.0)
        yield process
    finally:
        process.kill()
        process.communicate()


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def test_killed_and_started_again(built):
    """While it is away each search fails, soon at once; when it is back they find as before."""
    port = free_port()
    with RemoteSearcher(f"http://127.0.0.1:{port}", CLIENT) as searcher:
        with started(built, port) as process:
            before = searcher.search(VEXLIN, k=2)
            process.send_signal(signal.SIGKILL)
            process.wait()
            for _ in range(3):
                with pytest.raises(SearchFailed):
                    searcher.search(VEXLIN, k=2)
            with pytest.raises(SearchFailed, match="tries in a row had no answer"):
                searcher.search(VEXLIN, k=2)
        with started(built, port) as process:
            serving.until(lambda: found(searcher) == before)
            process.terminate()
            assert process.wait(20) == -signal.SIGTERM
            log = process.stdout.read()
    assert "Traceback" not in log
    assert f"listening on http://127.0.0.1:{port}" in log


def found(searcher: RemoteSearcher) -> object:
    try:
        return searcher.search(VEXLIN, k=2)
    except SearchFailed as failed:
        return failed


def test_stopped_under_load_nobody_gets_half_an_answer(built):
    """Each request is answered whole or its connection is refused."""
    port = free_port()
    with started(built, port) as process, ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(ask_until_none_answers, port) for _ in range(8)]
        serving.until(lambda: num_answered(port) > 50)
        process.terminate()
        outcomes = [future.result() for future in futures]
        assert process.wait(30) == -signal.SIGTERM
    assert all("no answer" in reason for reason in outcomes)


def num_answered(port: int) -> int:
    return answered_requests(f"http://127.0.0.1:{port}")


def ask_until_none_answers(port: int) -> str:
    """Why there is no answer any more; those before it are right."""
    with RemoteSearcher(f"http://127.0.0.1:{port}", ClientOptions(retries=0)) as searcher:
        while True:
            try:
                ((passage,),) = searcher.search(VEXLIN, k=1)
            except SearchFailed as failed:
                return str(failed)
            assert passage.id == "e0"


def test_what_cannot_start_says_so_in_one_line(built, own):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_script("serve_retriever", *overrides(built, port))
    assert done.returncode == 2
    assert f"server.port={port}: Address already in use" in done.stderr
    assert "set another port" in done.stderr
    done = run_script("serve_retriever", *overrides(own, 0), "retrieval.factory=HNSW8")
    assert done.returncode == 2
    assert "factory is 'Flat' there, 'HNSW8' here" in done.stderr
    assert done.stderr.count("\n") == 1


def test_measurement(tmp_path):
    options = BenchServerOptions(
        output=str(tmp_path / "server.json"),
        seconds=1.0,
        num_clients=8,
        num_documents=100,
        num_questions=20,
    )
    result = measure(options)
    assert (result["wrong"], result["lost"], result["failures"]) == (0, 0, [])
    assert result["answered"] > 8
    assert (tmp_path / "server.json").exists()
