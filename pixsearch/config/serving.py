"""Options of the servers of passages and of answers."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from pixsearch.config.checks import check_at_least, check_positive
from pixsearch.config.generation import GenerationOptions, PolicyOptions
from pixsearch.config.paths import PathOptions
from pixsearch.config.retrieval import RetrievalOptions


@dataclass
class HttpOptions:
    """What every server here lets the user choose."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0: any free one, told in the log
    token_variable: str = "PIXSEARCH_TOKEN"  # environment variable with the bearer token, if any
    allow_without_token: bool = False  # to listen beyond this machine without one
    queue_size: int = 128  # requests taken on at a time; others get 429
    timeout_seconds: float = 60.0  # of a request, from its first byte to the reply, then 504
    drain_seconds: float = 30.0  # for requests in flight when the server is stopped
    max_body_mib: int = 64
    max_image_megapixels: float = 32.0  # of one image

    def __post_init__(self) -> None:
        check_at_least(1, "server", self, ("queue_size", "max_body_mib"))
        check_at_least(0, "server", self, ("port", "drain_seconds"))
        check_positive("server", self, ("timeout_seconds", "max_image_megapixels"))


@dataclass
class ServerOptions(HttpOptions):
    """The server of passages (pixsearch/retrieval/server/)."""

    window_milliseconds: float = 3.0  # in which requests are gathered for one search
    max_batch: int = 256  # queries, from which on no further request joins a search
    topk: int = 3  # passages per query where a request does not say (Search-R1's default)
    max_topk: int = 1000
    max_queries: int = 4096  # of one request
    max_query_characters: int = 20_000
    max_request_megapixels: float = 256.0  # of all images of a request

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ("max_batch", "topk", "max_topk", "max_queries", "max_query_characters")
        check_at_least(1, "server", self, names)
        check_at_least(0, "server", self, ("window_milliseconds",))
        check_positive("server", self, ("max_request_megapixels",))
        if self.topk > self.max_topk:
            raise ValueError(f"server.topk={self.topk} is above server.max_topk={self.max_topk}")


@dataclass
class ChatServerOptions(HttpOptions):
    """The server of answers (pixsearch/serving/)."""

    port: int = 8080
    timeout_seconds: float = 300.0
    model_name: str = "pixsearch"  # what clients call the model
    max_messages: int = 64  # of one conversation
    max_characters: int = 20_000  # of one message

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, "server", self, ("max_messages", "max_characters"))


@dataclass
class ServeRetrieverOptions:
    """scripts/serve_retriever.py"""

    server: ServerOptions = field(default_factory=ServerOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class ServeOptions:
    """scripts/serve.py"""

    checkpoint: str = MISSING
    server: ChatServerOptions = field(default_factory=ChatServerOptions)
    policy: PolicyOptions = field(default_factory=PolicyOptions)
    generation: GenerationOptions = field(
        default_factory=lambda: GenerationOptions(search_timeout_seconds=50.0)  # five within 300
    )
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    paths: PathOptions = field(default_factory=PathOptions)

    def __post_init__(self) -> None:
        search, whole = self.generation.search_timeout_seconds, self.server.timeout_seconds
        if search >= whole:
            raise ValueError(
                f"generation.search_timeout_seconds={search:g} is not below "
                f"server.timeout_seconds={whole:g}: policy.on_search_failure would never act; "
                "lower the one, or raise the other"
            )


@dataclass
class BenchServerOptions:
    """scripts/bench_server.py: many clients at once ask a server with made-up documents."""

    output: str = "outputs/bench/server.json"
    seconds: float = 60.0
    num_clients: int = 64
    num_documents: int = 2000
    num_questions: int = 200  # different ones, whose answers are known beforehand
    queries_per_request: int = 4
    k: int = 5
    seed: int = 0
    server: ServerOptions = field(default_factory=lambda: ServerOptions(port=0))
    paths: PathOptions = field(default_factory=PathOptions)

    def __post_init__(self) -> None:
        names = ("num_clients", "num_documents", "num_questions", "queries_per_request", "k")
        check_at_least(1, "bench", self, names)
