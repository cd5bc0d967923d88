"""Options of making a knowledge base and its indexes."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from pixsearch.config.checks import check_at_least, check_positive
from pixsearch.config.paths import PathOptions
from pixsearch.config.retrieval import RetrievalOptions


@dataclass
class BuildOptions:
    """How indexes are built."""

    shard_size: int = 16384  # documents or images per shard, the unit that is resumed
    window: int = 4096  # texts that are put into batches by length together
    wait_seconds: float = 3600.0  # without a new shard of another process, then the build ends
    train_vectors: int = 262_144  # drawn to train the index
    add_vectors: int = 16_384  # added to the index at a time; never more than a shard has
    threads: int = 0  # of FAISS; 0: as OMP_NUM_THREADS says, which accelerate and torchrun set to 1
    seed: int = 0  # of what is drawn
    max_document_characters: int = 1_000_000  # of title and contents; a longer one is refused

    def __post_init__(self) -> None:
        names = ("shard_size", "window", "train_vectors", "add_vectors", "max_document_characters")
        check_at_least(1, "build", self, names)
        check_at_least(0, "build", self, ("wait_seconds", "threads"))


@dataclass
class BuildIndexOptions:
    """scripts/build_index.py"""

    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    build: BuildOptions = field(default_factory=BuildOptions)
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class ImportCorpusOptions:
    """scripts/import_corpus.py: a corpus of another project becomes a knowledge base."""

    reader: str = MISSING  # key of pixsearch.retrieval.corpora.READERS
    source: str = MISSING  # file, or folder of parquet files
    knowledge_base: str = MISSING  # folder that is made
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class BenchIndexOptions:
    """scripts/bench_index.py: memory and time of building indexes over synthetic vectors."""

    output: str = "outputs/bench/index.json"
    count: int = 2_000_000
    dimension: int = 384
    num_topics: int = 10_000  # about which the vectors lie
    factories: list[str] = field(
        default_factory=lambda: [
            "IVF4096,RaBitQfs,Refine(SQ8) nprobe=64,k_factor_rf=4",
            "HNSW32,SQ8 efSearch=64",
        ]
    )  # each with a blank and its search parameters, if any
    folder: str = "outputs/bench/vectors"  # for vectors and indexes, emptied behind the run
    build: BuildOptions = field(default_factory=lambda: BuildOptions(threads=2))
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class BenchRetrievalOptions:
    """scripts/bench_retrieval.py: speed and recall of index types, and what our call adds to them.

    An index is written as its factory, a blank and its search parameters, if it has any.
    """

    output: str = "outputs/bench/retrieval.json"
    count: int = 200_000  # documents, each with one vector
    dimension: int = 768
    documents_per_topic: int = 1000  # they lie about one point
    words: int = 100  # of a passage
    num_queries: int = 1000  # over which recall and speed are measured
    batch: int = 64  # queries of one call
    k: int = 5  # passages of one query; recall is that of the ten nearest
    repeats: int = 51  # calls by which an overhead is measured, each with other queries
    indexes: list[str] = field(
        default_factory=lambda: [
            "Flat",
            "SQfp16",
            "SQ8",
            "HNSW32 efSearch=64",
            "HNSW32,SQ8 efSearch=64",
            "HNSW32,SQ8 efSearch=128",
            "IVF1024,Flat nprobe=32",
            "IVF1024,SQ8 nprobe=32",
            "IVF1024,SQ8 nprobe=64",
            "IVF1024,PQ96x4fs,Refine(SQ8) nprobe=64,k_factor_rf=20",
            "IVF1024,RaBitQfs,Refine(SQ8) nprobe=32,k_factor_rf=4",
            "IVF1024,RaBitQfs,Refine(SQ8) nprobe=64,k_factor_rf=10",
            "IVF1024,RaBitQfs4 nprobe=64",
        ]
    )
    overhead: list[str] = field(default_factory=lambda: ["Flat", "HNSW32,SQ8 efSearch=64"])
    build: BuildOptions = field(default_factory=lambda: BuildOptions(threads=2))
    folder: str = "outputs/bench/passages"  # for documents and indexes, emptied behind the run
    paths: PathOptions = field(default_factory=PathOptions)

    def __post_init__(self) -> None:
        names = ("count", "dimension", "documents_per_topic", "words", "num_queries")
        check_at_least(1, "bench", self, (*names, "batch", "k", "repeats"))


@dataclass
class ScaleOptions:
    """scripts/scale_table.py: what large knowledge bases need, from what was measured."""

    searching: str = "outputs/bench/retrieval.json"  # of scripts/bench_retrieval.py
    building: str = "outputs/bench/index.json"  # of scripts/bench_index.py
    document: str = "docs/scale.md"  # whose tables are written anew
    counts: list[int] = field(default_factory=lambda: [6_000_000, 100_000_000, 1_000_000_000])
    machine_gib: int = 256  # memory of one machine
    machine_cores: int = 32
    usable: float = 0.8  # share of a machine's memory that an index may fill
    paths: PathOptions = field(default_factory=PathOptions)

    def __post_init__(self) -> None:
        check_at_least(1, "scale", self, ("machine_gib", "machine_cores"))
        check_positive("scale", self, ("usable",))


@dataclass
class ChunkOptions:
    """How a text is cut; the paper does not say (pixsearch/retrieval/sources/chunking.py)."""

    words: int = 100  # of a chunk at most
    overlap: int = 0  # words that a chunk repeats of the one before it

    def __post_init__(self) -> None:
        check_at_least(1, "chunks", self, ("words",))
        check_at_least(0, "chunks", self, ("overlap",))
        if self.overlap >= (self.words + 1) // 2:
            raise ValueError(
                f"chunks.overlap={self.overlap}: less than half of chunks.words={self.words} is "
                "needed, for a chunk may end at a sentence in its second half"
            )


@dataclass
class ImageSourceOptions:
    """Where images come from and which are taken. Limits on requests are Wikimedia's wishes."""

    folder: str | None = None  # images at hand, Q806/Q806563.jpg as OVEN's tar has them
    download: bool = True  # those that are not at hand
    contact: str | None = None  # your e-mail address or page, said to the server
    connections: int = 2
    megabits_per_second: float | None = 25.0  # of all connections together; null: no limit
    timeout: float = 60.0  # seconds for an image, and for any sign of life of the server
    attempts: int = 5
    back_off: float = 1.0  # seconds before the second attempt, doubled before each other one
    longest_wait: float = 600.0  # seconds; a server that asks for more ends the run
    max_megabytes: float = 50.0  # of a file; larger ones are quarantined, like all below
    max_megapixels: float = 80.0
    max_side: int | None = 1024  # pixels; larger images are stored scaled down; null: as they are
    retry_quarantined: bool = False  # ask once more for what failed in an earlier run

    def __post_init__(self) -> None:
        check_at_least(1, "images", self, ("connections", "attempts", "max_side"))
        check_at_least(0, "images", self, ("back_off", "longest_wait"))
        for name in ("megabits_per_second", "timeout", "max_megabytes", "max_megapixels"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ValueError(f"images.{name}={value}: more than 0 is needed")


@dataclass
class PrepareKnowledgeOptions:
    """scripts/prepare_knowledge.py"""

    source: str = MISSING  # key of pixsearch.retrieval.sources.READERS
    file: str = MISSING  # the source's articles
    output_dir: str = MISSING  # the knowledge base
    chunks: ChunkOptions = field(default_factory=ChunkOptions)
    images: ImageSourceOptions = field(default_factory=ImageSourceOptions)
    limit: int | None = None  # first n articles only
    dry_run: bool = False  # count, and write and ask for nothing
    paths: PathOptions = field(default_factory=PathOptions)

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit={self.limit}: at least 1 is needed; null takes all")
