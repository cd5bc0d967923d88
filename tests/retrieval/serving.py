"""Servers for tests: ours in a thread of this process, and bad ones that say what they are told."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import uvicorn

from pixsearch.config import RetrievalOptions, ServerOptions
from pixsearch.retrieval.info import KnowledgeSource
from pixsearch.retrieval.opening import open_searcher
from pixsearch.retrieval.searcher import AnyReranker
from pixsearch.retrieval.server.app import create_app
from pixsearch.retrieval.server.metrics import Metrics
from pixsearch.retrieval.server.owner import Owner, OwnerState
from pixsearch.web.listening import listen, uvicorn_config

PATIENCE = 20.0  # seconds within which anything here happens


@contextmanager
def serving(
    source: RetrievalOptions | Callable[[], KnowledgeSource],
    *,
    token: str | None = None,
    open_reranker: Callable[[KnowledgeSource], AnyReranker] | None = None,
    wait: bool = True,
    **options: object,
) -> Iterator[str]:
    """The URL of a server that is ready (unless `wait` is False), as `serve` starts one."""
    server_options = ServerOptions(port=0, **options)
    metrics = Metrics()
    open_source = source if callable(source) else partial(open_searcher, source)
    owner = Owner(open_source, server_options, metrics, open_reranker=open_reranker)
    app = create_app(owner, server_options, metrics, token=token)
    server = uvicorn.Server(uvicorn_config(app, server_options))
    with listen(server_options) as listener:
        url = "http://{}:{}".format(*listener.getsockname())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        owner.start()
        thread.start()
        try:
            until(lambda: server.started)
            until(lambda: not wait or owner.state is not OwnerState.loading)
            yield url
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


@contextmanager
def replying(
    *replies: bytes | None, delay: float = 0.0, pause: float = 0.0
) -> Iterator[tuple[str, list[bytes]]]:
    """A server that sends these replies, one to each connection in turn, the last one for ever.

    None: the connection is closed without a word. Yields the URL and what was received so far.

    Args:
        delay: seconds before a reply.
        pause: seconds between two bytes of it.
    """
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told = (list(replies), delay, pause, received)
        thread = threading.Thread(target=_reply, args=(listener, *told))
        thread.start()
        try:
            yield "http://{}:{}".format(*listener.getsockname()), received
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


def http(status: int, body: str, **headers: str) -> bytes:
    """A reply in HTTP, behind which the connection ends."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in {**named, "Connection": "close"}.items()]
    return f"HTTP/1.1 {status} Said\r\n{chr(10).join(lines)}\r\n\r\n{body}".encode()


def until(is_so: Callable[[], bool], *, patience: float = PATIENCE) -> None:
    """Wait for a thing that is about to happen."""
    deadline = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def _reply(
    listener: socket.socket,
    replies: list[bytes | None],
    delay: float,
    pause: float,
    received: list[bytes],
) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # the test is over
            return
        with connection:
            received.append(_receive(connection))
            time.sleep(delay)
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
            with suppress(OSError):  # whoever asked may have hung up
                _send(connection, reply or b"", pause)


def _receive(connection: socket.socket) -> bytes:
    """One request with its body."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(65536)
    header = request.split(b"\r\n\r\n")[0]
    length = re.search(rb"(?i)content-length: (\d+)", header)
    whole = len(header) + 4 + (int(length[1]) if length else 0)
    while len(request) < whole:
        request += connection.recv(65536)
    return request


def _send(connection: socket.socket, reply: bytes, pause: float) -> None:
    if pause == 0:
        connection.sendall(reply)
        return
    for byte in reply:
        connection.sendall(bytes([byte]))
        time.sleep(pause)
