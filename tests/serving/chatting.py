"""A server of answers in a thread of this process, over a tiny model, and OpenAI's own client."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import openai
import uvicorn

from pixsearch.config import ChatServerOptions, GenerationOptions, PolicyOptions
from pixsearch.generation.choosing import Choose, greedy
from pixsearch.generation.engine import Engine
from pixsearch.generation.online import OnlineEngine
from pixsearch.model import PixSearch
from pixsearch.queries import Search
from pixsearch.serving.app import create_app
from pixsearch.serving.metrics import ChatMetrics
from pixsearch.web.listening import listen, uvicorn_config
from tests.retrieval.serving import PATIENCE, until


@dataclass(frozen=True, kw_only=True)
class Serving:
    url: str
    engine: Engine
    online: OnlineEngine

    def client(self, **options: object) -> openai.OpenAI:
        settings = {"api_key": "any", "max_retries": 0, "timeout": PATIENCE, **options}
        return openai.OpenAI(base_url=f"{self.url}/v1", **settings)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE)


@contextmanager
def serving(
    model: PixSearch,
    search: Search,
    *,
    policy: PolicyOptions | None = None,
    generation: GenerationOptions | None = None,
    choose: Choose = greedy,
    token: str | None = None,
    **options: object,
) -> Iterator[Serving]:
    """As `serve` starts one."""
    server_options = ChatServerOptions(port=0, **options)
    engine = Engine(
        model, search, policy or PolicyOptions(), generation or GenerationOptions(), choose=choose
    )
    with OnlineEngine(engine) as online, listen(server_options) as listener:
        app = create_app(online, server_options, ChatMetrics(engine, online), token=token)
        server = uvicorn.Server(uvicorn_config(app, server_options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started)
            yield Serving(
                url="http://{}:{}".format(*listener.getsockname()), engine=engine, online=online
            )
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
