"""A real web server on this machine that serves pictures, well and badly."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
from PIL import Image

JPEG = "image/jpeg"


def picture(number: int, *, side: int = 24, format: str = "JPEG") -> bytes:
    """A file whose pixels nobody else has."""
    pixels = np.random.default_rng(number).integers(0, 255, (side, side, 3), dtype=np.uint8)
    packed = BytesIO()
    Image.fromarray(pixels).save(packed, format)
    return packed.getvalue()


class ImageServer(ThreadingHTTPServer):
    """Answers /ok/N with picture N after `delay` seconds, and other paths as they are called.

    What stands behind a question mark only tells addresses apart.

    Attributes:
        asked: path -> number of requests.
        answered: path -> number of answers that were written to the end.
        user_agents: all that were seen.
        most_at_once: requests that were under way together.
    """

    daemon_threads = True

    def __init__(self, *, delay: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.delay = delay
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.user_agents: set[str] = set()
        self.times: list[tuple[float, str]] = []
        self.most_at_once = 0
        self.at_once = 0
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is part of the tests."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ImageServer

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.asked[self.path] += 1
            server.times.append((time.monotonic(), self.path))
            server.user_agents.add(self.headers["User-Agent"])
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            time.sleep(server.delay)
            kind, _, argument = self.path.partition("?")[0].strip("/").partition("/")
            getattr(self, f"_{kind}")(argument)
            server.answered[self.path] += 1
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client was killed or had enough
        finally:
            with server.lock:
                server.at_once -= 1

    def _send(self, status: int, body: bytes, *, type: str = JPEG, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", type)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _ok(self, number: str) -> None:
        self._send(200, picture(int(number)))

    def _png(self, number: str) -> None:
        self._send(200, picture(int(number), format="PNG"), type="image/png")

    def _status(self, status: str) -> None:
        self._send(int(status), b"no", type="text/plain")

    def _busy(self, seconds: str) -> None:
        """429 with Retry-After, the picture when asked again."""
        if self.server.asked[self.path] == 1:
            self._send(429, b"slow down", type="text/plain", Retry_After=seconds)
        else:
            self._ok("77")

    def _always_busy(self, seconds: str) -> None:
        """429 with Retry-After, however often it is asked."""
        self._send(429, b"slow down", type="text/plain", Retry_After=seconds)

    def _returned(self, _: str) -> None:
        """404 at first, then the picture."""
        if self.server.asked[self.path] == 1:
            self._status("404")
        else:
            self._ok("79")

    def _flaky(self, failures: str) -> None:
        """503 so many times, then the picture."""
        if self.server.asked[self.path] <= int(failures):
            self._status("503")
        else:
            self._ok("78")

    def _short(self, _: str) -> None:
        """Half of what Content-Length promises, then the connection ends."""
        body = picture(1)
        self._send(200, body[: len(body) // 2], Content_Length=str(len(body)))
        self.close_connection = True

    def _halved(self, _: str) -> None:
        """Half a picture, served as if it were whole."""
        body = picture(1, side=64)
        self._send(200, body[: len(body) // 2])

    def _svg(self, _: str) -> None:
        self._send(200, b"<svg/>", type="image/svg+xml")

    def _large(self, megabytes: str) -> None:
        self._send(200, b"x" * (int(megabytes) * 1_000_000))

    def _endless(self, _: str) -> None:
        """A body without a stated length that does not end."""
        self.send_response(200)
        self.send_header("Content-Type", JPEG)
        self.end_headers()
        self.close_connection = True
        for _ in range(10_000):
            self.wfile.write(b"x" * 10_000)

    def _trickle(self, _: str) -> None:
        """A byte now and then, so that no single read times out."""
        self.send_response(200)
        self.send_header("Content-Type", JPEG)
        self.end_headers()
        self.close_connection = True
        for _ in range(600):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def _loop(self, _: str) -> None:
        self._moved("loop/1")

    def _moved(self, path: str) -> None:
        self.send_response(301)
        self.send_header("Location", f"/{path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running(server: ImageServer) -> Iterator[ImageServer]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
