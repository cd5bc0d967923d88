"""Options of the knowledge source, as it is searched."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from pixsearch.config.checks import check_at_least, check_positive
from pixsearch.config.choices import (
    Backend,
    FromDocument,
    IndexDevice,
    OnMissingServer,
    Pooling,
    RetrievalSource,
    TextSearch,
)


@dataclass
class EncoderOptions:
    """One encoder of queries and documents."""

    name: str = MISSING  # key of pixsearch.retrieval.encoders.ENCODERS
    model: str = ""  # folder or hub id
    revision: str | None = None  # of a hub id: commit, tag or branch
    dimension: int = MISSING
    prefix: str = ""  # put before every query, as E5's "query: "
    document_prefix: str = ""  # put before every document's text, as E5's "passage: "
    pooling: Pooling = Pooling.none
    normalize: bool = True  # vectors to unit length (cosine); false: their inner product counts
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_at_least(1, "encoder", self, ("dimension", "batch_size"))


@dataclass
class CragMMOptions:
    """CRAG-MM's published search indexes, of retrieval.source=crag_mm."""

    image_index: str | None = None  # hub id of a data set, or a folder; null: no image search
    image_revision: str | None = None  # commit or name; null: the main branch
    web_index: str | None = None  # as image_index; null: no search by text
    web_revision: str | None = None
    copies: str = "data/crag_mm_search"  # folder of the private copies that are opened
    num_images: int = 30  # asked of the index; the entities that they show fold into k passages
    num_chunks: int = 50  # asked of the index; their pages fold into k passages
    min_image_score: float = -1.0  # cosine below which an image's entities are left out

    def __post_init__(self) -> None:
        check_at_least(1, "crag_mm", self, ("num_images", "num_chunks"))


@dataclass
class ClientOptions:
    """How a server of passages is asked (pixsearch/retrieval/connection.py)."""

    timeout_seconds: float = 60.0  # of one try, to the end of the reply
    connect_seconds: float = 5.0
    retries: int = 3  # behind the first try
    backoff_seconds: float = 0.25  # longest wait before the first retry; twice as long each time
    max_wait_seconds: float = 30.0  # before a retry, also where the server asks for more
    breaker_failures: int = 5  # tries without an answer in a row, then the server is left alone
    breaker_seconds: float = 10.0  # for so long; searches fail at once meanwhile
    max_request_mib: int = 32  # more queries than that go in several requests
    max_reply_mib: int = 64
    token_variable: str = "PIXSEARCH_TOKEN"  # environment variable with the bearer token, if any
    on_missing_server: OnMissingServer = OnMissingServer.error  # of fan_out

    def __post_init__(self) -> None:
        names = ("breaker_failures", "max_request_mib", "max_reply_mib")
        check_at_least(1, "retrieval.client", self, names)
        check_at_least(0, "retrieval.client", self, ("retries", "backoff_seconds"))
        check_positive("retrieval.client", self, ("timeout_seconds", "connect_seconds"))


@dataclass
class FusionOptions:
    """Reciprocal rank fusion of several rankings: a document counts 1 / (constant + rank) in each.

    Cormack, Clarke and Büttcher (SIGIR 2009), where the constant is 60.
    """

    constant: int = 60
    candidates: int = 100  # taken from each ranking

    def __post_init__(self) -> None:
        check_at_least(1, "retrieval.fusion", self, ("constant", "candidates"))


@dataclass
class RerankerOptions:
    """A cross-encoder that reads text queries together with the passages found for them."""

    model: str = ""  # folder or hub id, for sentence-transformers' CrossEncoder; "": none
    revision: str | None = None  # of a hub id: commit, tag or branch
    candidates: int = 50  # passages that it reads for each query
    batch_size: int = 32

    def __post_init__(self) -> None:
        check_at_least(1, "retrieval.reranker", self, ("candidates", "batch_size"))


@dataclass
class QdrantOptions:
    """Where backend=qdrant keeps vectors: one point per document, with its text and its images."""

    url: str | None = None  # of the cluster
    path: str | None = None  # folder of an embedded one: brute force in Python, for small bases
    collection: str = "pixsearch"  # holds one knowledge base; it is never overwritten
    key_variable: str = "QDRANT_API_KEY"  # environment variable with the key, if any
    shards: int = 1  # parts over the nodes, for good: a self-hosted cluster does not split them
    replicas: int = 1
    exact: bool = False  # compare with every vector; false: by Qdrant's HNSW graph
    ef_search: int | None = None  # candidates of a search in the graph; null: Qdrant's own
    batch_size: int = 256  # documents per request of an upload
    timeout_seconds: int = 60  # of one request
    index_seconds: float = 86400.0  # that the cluster may take to build its graph

    def __post_init__(self) -> None:
        names = ("shards", "replicas", "ef_search", "batch_size", "timeout_seconds")
        check_at_least(1, "retrieval.qdrant", self, names)
        if self.url is not None and self.path is not None:
            raise ValueError(
                f"retrieval.qdrant.url={self.url} and path={self.path}: give one of them"
            )


@dataclass
class RetrievalOptions:
    """`configs/retrieval/`: the knowledge base and its indexes."""

    knowledge_base: str = MISSING  # folder with corpus.jsonl and images/
    index: str = MISSING  # folder of the built indexes (text/, image/)
    text_encoder: EncoderOptions = field(default_factory=EncoderOptions)
    image_encoder: EncoderOptions = field(default_factory=EncoderOptions)
    factory: str = "Flat"  # FAISS index factory string
    search_parameters: str = ""  # FAISS's, as "nprobe=64,k_factor_rf=4"; "": as it was built
    device: IndexDevice = IndexDevice.cpu
    memory_map: bool = False  # leave vectors in the file, to be read as they are asked for
    verify: bool = True  # compare the files of an index with their sha256 when it is opened
    backend: Backend = Backend.faiss
    qdrant: QdrantOptions = field(default_factory=QdrantOptions)
    text_search: TextSearch = TextSearch.dense
    fuse_question: bool = False  # image and region queries find by their question's words too
    fusion: FusionOptions = field(default_factory=FusionOptions)  # of hybrid and fuse_question
    reranker: RerankerOptions = field(default_factory=RerankerOptions)
    cache_entries: int = 0  # results that are kept for the same query; 0: none
    min_region_side: int = 8  # pixels; a smaller box is widened
    region_margin: float = 0.1  # of the box's sides, for padded_box and blurred_surround
    region_scales: list[float] = field(default_factory=lambda: [1.0, 1.5, 3.0])
    """Sides of multi_scale's boxes, in sides of the mask's own box."""
    region_blur: float = 0.1  # deviation of blurred_surround's blur, of the box's longer side
    from_document: FromDocument = FromDocument.lead  # the chunk that an image hit brings
    source: RetrievalSource = RetrievalSource.index
    crag_mm: CragMMOptions = field(default_factory=CragMMOptions)
    recording: str | None = None  # file to which searches are written, or of source=replay
    server: str | None = None  # URL of a server that is asked instead, with options of its own
    fan_out: list[str] = field(default_factory=list)  # likewise of several, with a part each
    client: ClientOptions = field(default_factory=ClientOptions)

    def __post_init__(self) -> None:
        check_at_least(1, "retrieval", self, ("min_region_side",))
        check_at_least(0, "retrieval", self, ("region_margin", "region_blur", "cache_entries"))
        self._check_backend()
        self._check_recording()
        if not self.region_scales or min(self.region_scales) < 1:
            raise ValueError(
                f"retrieval.region_scales={self.region_scales}: at least one is needed, none below "
                "1, where a box would cut its mask"
            )
        if self.server is not None and self.fan_out:
            raise ValueError(
                f"retrieval.server={self.server} and retrieval.fan_out={self.fan_out}: "
                "give one server as the first, several with a part each as the second"
            )

    def _check_recording(self) -> None:
        if self.source is not RetrievalSource.replay:
            return
        if self.recording is None:
            raise ValueError("retrieval.source=replay: set retrieval.recording to the file")
        if self.server is not None or self.fan_out:
            raise ValueError(
                "retrieval.source=replay asks no server: leave out retrieval.server and fan_out"
            )

    def _check_backend(self) -> None:
        if self.backend is Backend.qdrant and not (self.qdrant.url or self.qdrant.path):
            raise ValueError("retrieval.backend=qdrant: say where, by retrieval.qdrant.url or path")
