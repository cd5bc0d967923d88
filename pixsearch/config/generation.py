"""Options of answering: what a policy allows, and the engine's limits."""

from dataclasses import dataclass, field
from enum import StrEnum

from pixsearch.config.checks import check_at_least
from pixsearch.config.choices import (
    Control,
    ForcedFirst,
    OnEmptyMask,
    OnSearchFailure,
    QueryType,
    RegionCrop,
)
from pixsearch.config.detector import DetectorOptions
from pixsearch.config.paths import PathOptions

OF_ONE_POLICY = ("name", "allow", "max_searches", "forced_first", "detector", "control")
"""Fields of `PolicyOptions` in which the paper's policies differ; the others they share."""


@dataclass
class PolicyOptions:
    """`configs/policy/`: constraints on the next-token choice (design, decision 7)."""

    name: str = "full"
    allow: list[QueryType] = field(default_factory=lambda: list(QueryType))
    max_searches: int = 5
    k: int = 5  # passages per search
    evidence_tokens: int = 320  # of passages per search; whole ones are dropped from the end
    query_tokens: int = 32  # longest free-text payload
    forced_first: ForcedFirst = ForcedFirst.none
    detector: DetectorOptions | None = None  # of forced_first=region
    on_empty_mask: OnEmptyMask = OnEmptyMask.whole_image
    on_search_failure: OnSearchFailure = OnSearchFailure.error
    search_retries: int = 3  # of on_search_failure=retry, beside those of retrieval.client
    region_crop: RegionCrop = RegionCrop.masked_crop
    control: Control = Control.none

    def __post_init__(self) -> None:
        check_at_least(1, "policy", self, ("k", "evidence_tokens", "query_tokens"))
        check_at_least(0, "policy", self, ("search_retries",))


@dataclass
class GenerationOptions:
    """The engine's limits."""

    max_new_tokens: int = 128  # sampled tokens per answer, evidence not counted
    answer_tokens: int = 32  # kept back for the forced final answer
    batch_size: int = 32  # rows decoded together
    max_length: int | None = None  # of all tokens; null: 2048 beside the image's (limits.py)
    instruction: str = ""  # plain models alone: said behind the question, e.g. how short to answer

    def __post_init__(self) -> None:
        names = ("max_new_tokens", "answer_tokens", "batch_size", "max_length")
        check_at_least(1, "generation", self, names)


class BenchSide(StrEnum):
    """What the engine is timed against (`scripts/bench_generation.py`)."""

    restart = "restart"  # transformers' generate anew for each segment, a batch in step
    single = "single"  # the same, one conversation at a time
    no_cache = "no_cache"  # the same on a shorter case, each token computing all before it
    continuous = "continuous"  # transformers' continuous batching, on text alone
    slow = "slow"  # a retriever that takes its time, on both sides


@dataclass
class BenchGenerationOptions:
    """scripts/bench_generation.py: the random models and the trajectories they are forced along."""

    output: str = "outputs/bench/generation.json"
    subjects: list[str] = field(default_factory=lambda: ["100m-fp32", "500m-bf16"])  # size-dtype
    sides: list[BenchSide] = field(default_factory=lambda: list(BenchSide))
    repeats: int = 3  # of ours and of each other side in turn
    threads: int = 2
    device: str = "cpu"
    seed: int = 0
    batch_size: int = 8
    num_trajectories: int = 8
    prompt_tokens: int = 700  # 576 of them the image's
    num_searches: int = 3
    evidence_tokens: int = 400  # of each search, tags counted
    generated_tokens: int = 256  # queries counted
    short_trajectories: int = 2  # of the case without any cache, one search each
    short_generated_tokens: int = 48
    slow_trajectories: int = 32  # of the case with a slow retriever
    retriever_seconds: float = 0.2
    paths: PathOptions = field(default_factory=PathOptions)

    def __post_init__(self) -> None:
        names = ("repeats", "threads", "batch_size", "num_trajectories", "num_searches")
        check_at_least(1, "bench_generation", self, names)
