"""Options of the generation benchmark."""

from dataclasses import dataclass, field
from enum import StrEnum

from pixsearch.config.checks import check_at_least
from pixsearch.config.paths import PathOptions


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
    subjects: list[str] = field(default_factory=lambda: ["100m-fp32", "500m-fp32"])  # size-dtype
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
    slow_subject: str = "25m-fp32"  # of the case with a slow retriever: the faster, the harder
    slow_trajectories: int = 32
    retriever_seconds: float = 0.2
    paths: PathOptions = field(default_factory=PathOptions)

    def __post_init__(self) -> None:
        names = ("repeats", "threads", "batch_size", "num_trajectories", "num_searches")
        check_at_least(1, "bench_generation", self, names)
