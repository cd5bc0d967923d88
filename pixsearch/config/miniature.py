"""Options of the procedurally drawn world and its demo."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from pixsearch.config.choices import AnswerSpan, Foundation
from pixsearch.config.evaluation import BenchmarkOptions
from pixsearch.config.generation import GenerationOptions, PolicyOptions
from pixsearch.config.model import ModelOptions
from pixsearch.config.paths import PathOptions
from pixsearch.config.retrieval import RetrievalOptions
from pixsearch.config.training import RunOptions, StageOptions


@dataclass
class MiniatureOptions:
    """The procedurally drawn world."""

    root: str = "outputs/miniature/world"
    seed: int = 0  # below 1,000,000: higher seeds are those of the pre-trained parts
    num_train_scenes: int = 1200
    num_eval_scenes: int = 160
    num_entities: int = 480


@dataclass
class BuildWorldOptions:
    """scripts/build_world.py"""

    miniature: MiniatureOptions = field(default_factory=MiniatureOptions)
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class BuildMiniatureTrajectoriesOptions:
    """scripts/build_miniature_trajectories.py: evidence is of the entities of training."""

    miniature: MiniatureOptions = field(default_factory=MiniatureOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    policy: PolicyOptions = field(default_factory=PolicyOptions)
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class PretrainOptions:
    """scripts/pretrain_miniature.py"""

    output_dir: str = "assets/miniature"
    num_entities: int = 2000
    num_scenes: int = 14000
    tower_steps: int = 4000
    segmenter_steps: int = 1800
    language_model_steps: int = 2500


@dataclass
class TrainDetectorOptions:
    """scripts/train_detector.py: a detector of the miniature's drawings."""

    miniature: MiniatureOptions = field(default_factory=MiniatureOptions)
    output_dir: str = "outputs/miniature/detector"
    parts: str = "assets/miniature"  # folder of tower/ and segmenter/, which stay as they are
    steps: int = 400
    num_images: int = 600  # of the training scenes, from the first
    seed: int = 0
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class DemoOptions:
    """scripts/demo.py: the miniature run. Each section goes on to the scripts that have it."""

    output_dir: str = "outputs/miniature"
    preset: str = "default"  # key of configs/preset/
    foundation: Foundation = Foundation.committed
    policies: list[str] = MISSING  # keys of configs/policy/, evaluated in this order
    # e.g. 7to9: stage 2 is trained at each, evaluated and compared with stage 1, and nothing else
    mixtures: list[str] = field(default_factory=list)
    pretrain: PretrainOptions = field(default_factory=PretrainOptions)  # foundation=scratch alone
    miniature: MiniatureOptions = field(default_factory=MiniatureOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    ground: StageOptions = field(default_factory=StageOptions)
    search: StageOptions = field(default_factory=StageOptions)
    run: RunOptions = field(default_factory=RunOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    benchmark: BenchmarkOptions = field(default_factory=BenchmarkOptions)
    policy: PolicyOptions = field(default_factory=PolicyOptions)  # what all policies share: k, ...
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    answer: AnswerSpan = AnswerSpan.after_last_search
    paths: PathOptions = field(default_factory=PathOptions)
