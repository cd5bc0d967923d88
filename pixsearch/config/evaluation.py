"""Options of benchmarks, reports and single questions."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from pixsearch.config.checks import check_at_least
from pixsearch.config.choices import AnswerSpan
from pixsearch.config.evaluation_choices import (
    CocoStuffClasses,
    CragMMProtocol,
    EntityLookup,
    MaskMode,
    UncoveredPixels,
)
from pixsearch.config.generation import GenerationOptions, PolicyOptions
from pixsearch.config.paths import PathOptions
from pixsearch.config.retrieval import RetrievalOptions


@dataclass
class BenchmarkOptions:
    """`configs/benchmark/`: what is asked and how it is scored."""

    name: str = MISSING  # key of pixsearch.evaluation.BENCHMARKS
    root: str = MISSING
    split: str = "validation"
    limit: int | None = None  # first n samples only
    protocol: CragMMProtocol = CragMMProtocol.paper  # of CRAG-MM's two official scorers
    tokenizer: str = ""  # CRAG-MM, needed: a tokenizer.json that counts 75 tokens; none: uncut
    squash_egocentric: bool = True  # CRAG-MM: to 960 x 1280, as the official loader does
    gold_boxes: str = ""  # CRAG-MM: JSON lines with CRAG-MM-Diagnostics' boxes; "": no recall
    entity_names: str | None = None  # OVEN: a file of entities' titles; null: no score of ids
    entity_lookup: EntityLookup = EntityLookup.bm25  # OVEN: how an answer is made an entity's id
    lisa_compat: bool = False  # RefCOCO: pixels of several of an object's polygons are no target
    classes: CocoStuffClasses = CocoStuffClasses.all171  # COCO-Stuff
    classes_per_question: int = 5  # semseg_miou: of all classes, which are asked for in turn
    uncovered: UncoveredPixels = UncoveredPixels.likeliest  # semseg_miou

    def __post_init__(self) -> None:
        check_at_least(1, "benchmark", self, ("limit", "classes_per_question"))


@dataclass
class EvaluateOptions:
    """scripts/evaluate.py"""

    checkpoint: str = MISSING
    output_dir: str = MISSING
    benchmark: BenchmarkOptions = field(default_factory=BenchmarkOptions)
    policy: PolicyOptions = field(default_factory=PolicyOptions)
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    answer: AnswerSpan = AnswerSpan.after_last_search
    score: str = "after"  # after | only (no generation: results from the saved predictions)
    mask_modes: list[MaskMode] = field(default_factory=lambda: list(MaskMode))  # mask benchmarks
    keep_masks: bool = False  # mask benchmarks: save the masks too, not their counts alone
    retry_failed: bool = False  # answer samples that failed before once more
    official_missing: bool = False  # leave samples without an answer out, as some scripts do
    seed: int | None = None  # of the control experiments; null: the benchmark's own
    # keeps the images' features: needed to share those of more than 1024 images among policies
    feature_store: str | None = None
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class ReportOptions(EvaluateOptions):
    """scripts/report.py: scores what was predicted and writes the report."""

    training: dict[str, str] = field(default_factory=dict)  # stage -> its run's folder, for curves


@dataclass
class PoolOptions:
    """scripts/pool.py: one figure over several finished demos."""

    runs: list[str] = MISSING  # their folders, each with world/ and evaluation/
    output: str = "outputs/miniature/pooled.json"
    answer: AnswerSpan = AnswerSpan.after_last_search
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class InferOptions:
    """scripts/infer.py"""

    checkpoint: str = MISSING
    question: str = MISSING
    image: str | None = None
    output_dir: str = "outputs/infer"
    policy: PolicyOptions = field(default_factory=PolicyOptions)
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    paths: PathOptions = field(default_factory=PathOptions)
