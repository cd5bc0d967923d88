"""Options of answering: what a policy allows, and the engine's limits."""

from dataclasses import dataclass, field

from pixsearch.config.checks import check_at_least, check_positive
from pixsearch.config.choices import (
    Control,
    ForcedFirst,
    OnEmptyMask,
    OnSearchFailure,
    QueryType,
    RegionCrop,
)
from pixsearch.config.detector import DetectorOptions

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


SCHEDULING = (
    "batch_size",
    "waiting_slots",
    "keep_slot_seconds",
    "cache_gib",
    "search_threads",
    "search_window_ms",
)
"""Fields of `GenerationOptions` that decide when something is computed, not what comes of it: an
evaluation that was begun with others goes on."""

MAX_SIDE_RATIO = 200  # longest side of a request's image by its shortest; as Qwen2-VL has it


@dataclass
class GenerationOptions:
    """The engine's limits."""

    max_new_tokens: int = 128  # sampled tokens per answer, evidence not counted
    answer_tokens: int = 32  # kept back for the forced final answer
    batch_size: int = 32  # rows computed together
    waiting_slots: int = 8  # more rows that keep their place while they wait for the retriever
    keep_slot_seconds: float = 2.0  # of waiting for the retriever; then others may have the place
    cache_gib: float | None = None  # of keys and values; null: at most 60 % of the free memory
    search_threads: int | None = None  # calls at a time; null: the searcher says (a server: 4)
    search_window_ms: float = 5.0  # in which rows that search are gathered for one call
    search_timeout_seconds: float = 300.0  # of one search, retries included
    max_length: int | None = None  # of all tokens; null: 2048 beside the image's (limits.py)
    instruction: str = ""  # plain models alone: said behind the question, e.g. how short to answer
    max_question_characters: int = 100_000  # of question and history
    max_image_megapixels: float = 64.0
    max_passage_characters: int = 1_000_000  # of one that is found; a longer one is none

    def __post_init__(self) -> None:
        names = ("max_new_tokens", "answer_tokens", "batch_size", "max_length", "search_threads")
        check_at_least(1, "generation", self, names)
        names = ("waiting_slots", "search_window_ms", "keep_slot_seconds")
        check_at_least(0, "generation", self, names)
        names = ("max_question_characters", "max_passage_characters")
        check_at_least(1, "generation", self, names)
        names = ("search_timeout_seconds", "max_image_megapixels", "cache_gib")
        check_positive("generation", self, names)
