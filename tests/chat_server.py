"""A real HTTP server on this machine that plays a chat-completions endpoint, well and badly."""

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pixsearch.evaluation.judging.prompt import judge_prompt
from pixsearch.trajectories.teacher.prompts import read_prompts

TASKS = {prompt.text: str(task) for task, prompt in read_prompts().items()}
TASKS[judge_prompt(None).text] = "verdict"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as the server sees it; `attempt` counts equal ones from 1."""

    task: str
    fields: dict[str, Any]
    body: dict[str, Any]
    attempt: int
    authorization: str | None

    @property
    def corrections(self) -> int:
        return (len(self.body["messages"]) - 2) // 2


@dataclass(frozen=True, kw_only=True)
class Act:
    """What the server does: words that it answers with, or how it fails."""

    text: str | None = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish_reason: str = "stop"
    refusal: str | None = None
    has_choice: bool = True
    usage: dict[str, int] | None = field(
        default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 10}
    )
    is_short: bool = False  # half of the body, then the connection ends
    wait_for: threading.Event | None = None


class ChatServer(ThreadingHTTPServer):
    """Asks `script` what to do with each request."""

    daemon_threads = True

    def __init__(self, script: Callable[[Asked], Act]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.lock = threading.Lock()
        self.seen: Counter[str] = Counter()
        self.asked: list[Asked] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def tasks(self) -> Counter[str]:
        return Counter(asked.task for asked in self.asked)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is part of the tests."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer
    disable_nagle_algorithm = True  # head and body are two writes

    def do_POST(self) -> None:
        assert self.path == "/v1/chat/completions"
        raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with self.server.lock:
            self.server.seen[raw] += 1
            asked = self._asked(raw, self.server.seen[raw])
            self.server.asked.append(asked)
        act = self.server.script(asked)
        if act.wait_for is not None:
            act.wait_for.wait(60)
        self._send(act)

    def _asked(self, raw: str, attempt: int) -> Asked:
        body = json.loads(raw)
        system, user, *_ = body["messages"]
        return Asked(
            task=TASKS[system["content"]],
            fields=json.loads(user["content"][-1]["text"]),
            body=body,
            attempt=attempt,
            authorization=self.headers["Authorization"],
        )

    def _send(self, act: Act) -> None:
        message = {"role": "assistant", "content": act.text, "refusal": act.refusal}
        completion = {"choices": [{"message": message, "finish_reason": act.finish_reason}]}
        if not act.has_choice:
            completion["choices"] = []
        if act.usage is not None:
            completion["usage"] = act.usage
        packed = json.dumps(completion if act.status == 200 else {"error": "no"}).encode()
        self.send_response(act.status)
        for name, value in ({"Content-Length": str(len(packed))} | act.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(packed[: len(packed) // 2] if act.is_short else packed)
        self.close_connection = act.is_short

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(
    script: Callable[[Asked], Act], *, kind: type[ChatServer] = ChatServer
) -> Iterator[ChatServer]:
    server = kind(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
