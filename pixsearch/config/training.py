"""Options of training."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from pixsearch.config.checks import check_at_least
from pixsearch.config.choices import (
    DataAction,
    Decay,
    Gpu,
    MaskLoss,
    OnError,
    OnTooLong,
    TrainablePart,
    TrainableTokens,
    WandbMode,
)
from pixsearch.config.model import ModelOptions
from pixsearch.config.paths import PathOptions
from pixsearch.config.retrieval import RetrievalOptions


@dataclass
class LossOptions:
    """Weights of the summed loss (paper, table of hyper-parameters)."""

    language: float = 1.0
    mask_overlap: float = 8.0
    mask_bce: float = 2.0
    overlap: MaskLoss = MaskLoss.focal_tversky
    tversky_alpha: float = 0.7  # weight of false negatives
    tversky_beta: float = 0.3  # weight of false positives
    tversky_gamma: float = 0.75
    span_tagging: float = 2.0  # of ground_by=span, like all below
    tag_weights: list[float] = field(default_factory=lambda: [0.1, 1.0, 1.0])  # of O, B and I
    teacher: float = 0.0  # pull of span states towards those without LoRA
    teacher_sigma: float = 1.0  # deviation of the Gaussian whose divergence that pull is


@dataclass
class OptimOptions:
    """AdamW with linear warm-up, then decay to `final_lr_ratio` of the learning rate."""

    lr: float = 2e-4
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])  # OmegaConf has no tuples
    weight_decay: float = 0.0
    warmup_steps: int = 100
    decay: Decay = Decay.linear
    final_lr_ratio: float = 0.0
    clip_norm: float = 1.0
    lr_scale: dict[TrainablePart, float] = field(default_factory=dict)  # overridden by ++


@dataclass
class StageOptions:
    """`configs/stage/`: a stage of training is a value, not a code path."""

    name: str = MISSING
    steps: int = MISSING
    trainable: list[TrainablePart] = MISSING
    trainable_tokens: TrainableTokens = TrainableTokens.new_rows
    init_from: str | None = None  # checkpoint folder of the stage before
    mixture: dict[str, float] = MISSING  # dataset name -> weight of samples drawn
    batch_size: int = 6  # conversations per process and micro-step
    accumulation: int = 10
    max_length: int = 512  # tokens of a conversation
    on_too_long: OnTooLong = OnTooLong.error  # what becomes of a longer one
    length_window: int = 1  # batches within which examples of like length go together; 1: off
    by_image: bool = False  # draw the examples of an image one after the other
    pack: bool = False  # fuller rows; conversations about one image share their beginning
    optim: OptimOptions = field(default_factory=OptimOptions)
    loss: LossOptions = field(default_factory=LossOptions)

    def __post_init__(self) -> None:
        names = ("steps", "batch_size", "accumulation", "max_length", "length_window")
        check_at_least(1, "stage", self, names)
        if self.by_image and self.length_window != MISSING and self.length_window > 1:
            raise ValueError(
                f"stage.by_image=true and stage.length_window={self.length_window}: grouped by "
                "length, the examples of an image would part again; set one of them off"
            )


@dataclass
class DatasetOptions:
    """One source of examples: a reader's name, where its files lie, which split."""

    reader: str = MISSING  # key of pixsearch.datasets.READERS
    root: str = MISSING
    split: str = "train"


@dataclass
class DataOptions:
    """`configs/data/`: what a mixture draws from."""

    sources: dict[str, DatasetOptions] = field(default_factory=dict)
    on_error: OnError = OnError["raise"]  # of a broken example: end the run, or leave it out
    # what is evaluated on: the expressions of RefCOCO's kin among them are never trained on
    eval_images: dict[str, DatasetOptions] = field(default_factory=dict)
    exclude_eval_images: bool = False  # leave out examples whose image is one of `eval_images`

    def __post_init__(self) -> None:
        if self.exclude_eval_images and not self.eval_images:
            raise ValueError(
                "data.exclude_eval_images=true, but data.eval_images names no set: give reader, "
                "root and split of each set whose images are not to be trained on"
            )


@dataclass
class PrepareDataOptions:
    """scripts/prepare_data.py"""

    action: DataAction = MISSING
    data: DataOptions = field(default_factory=DataOptions)
    sets: list[str] = field(default_factory=list)  # names of `data.sources`; none: all of them
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class RunOptions:
    """One training run."""

    output_dir: str = MISSING
    seed: int = 0
    save_every: int = 200
    evaluate_every: int = 200  # steps between held-out losses and sample trajectories
    log_every: int = 10  # steps between points sent to wandb; metrics.jsonl has every step
    keep_checkpoints: int = 1
    held_out: int = 16  # examples at the end of each dataset that are evaluated, never trained on
    encode_batch: int = 8  # images per call of the frozen encoders
    feature_cache_gib: float = 4.0  # memory for the frozen encoders' features, per process
    feature_cache_half: bool = False  # keep them in fp16
    feature_store: str | None = None  # folder in which they are kept for later epochs and runs
    decode_ahead: bool = True  # a thread decodes the next step's images and masks meanwhile
    wandb: WandbMode = WandbMode.disabled
    overfit_one_batch: bool = False
    resume: bool = True

    def __post_init__(self) -> None:
        check_at_least(1, "run", self, ("log_every", "encode_batch"))
        names = ("save_every", "evaluate_every", "keep_checkpoints", "held_out")
        check_at_least(0, "run", self, (*names, "feature_cache_gib"))


@dataclass
class TrainOptions:
    """scripts/train.py"""

    model: ModelOptions = field(default_factory=ModelOptions)
    stage: StageOptions = field(default_factory=StageOptions)
    data: DataOptions = field(default_factory=DataOptions)
    retrieval: RetrievalOptions | None = None
    run: RunOptions = field(default_factory=RunOptions)
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class PlanAssumptions:
    """What a plan takes for granted about the machines and a sample."""

    gpu: Gpu = Gpu.a100_80gb
    num_gpus: int = 8
    utilization: float = 0.35  # of the card's peak that training reaches
    mean_tokens: int | None = None  # of a sample with its image; null: stage.max_length
    target_tokens: int = 128  # of a sample, supervised
    conversations_per_image: float = 1.0  # in the mean; of stage.by_image
    masks: int = 1  # grounded phrases of a sample
    phrase_tokens: int = 3  # of a phrase, where its words are tagged
    image_height: int = 480  # of a sample's one image, in pixels
    image_width: int = 640
    question_tokens: int = 64  # of evaluation: of a prompt without its image
    answer_tokens: int = 64  # of evaluation: generated for an answer
    answer_batch: int = 32  # of evaluation: rows that are decoded together
    searches: float = 3.0  # of evaluation: of an answer that searches (paper, figure 4: 2 to 4)
    evidence_tokens: int = 320  # of evaluation: of a search
    architectures: str = "configs/architecture"  # folder with the sizes of published models

    def __post_init__(self) -> None:
        names = ("num_gpus", "target_tokens", "phrase_tokens", "image_height", "image_width")
        evaluated = ("question_tokens", "answer_tokens", "answer_batch", "evidence_tokens")
        check_at_least(1, "plan", self, (*names, *evaluated, "conversations_per_image"))
        check_at_least(0, "plan", self, ("masks", "searches"))
        if not 0 < self.utilization <= 1:
            raise ValueError(
                f"plan.utilization={self.utilization}: above 0 and at most 1 is needed"
            )


@dataclass
class PlanOptions(TrainOptions):
    """scripts/plan.py: what a training run would need; every option of the run is one of its."""

    plan: PlanAssumptions = field(default_factory=PlanAssumptions)


@dataclass
class InspectOptions:
    """Which examples are looked at."""

    output: str = "outputs/inspect/index.html"
    num_read: int = 500  # examples that the statistics count
    num_shown: int = 24  # of them, the first
    dataset: str | None = None  # key of data, in the mixture or not; null: all of the mixture
    from_mixture: bool = True  # in the order in which training draws them; false: at random
    start: int = 0  # of from_mixture: the first sample's place in that order
    seed: int = 0  # of from_mixture=false; the order of the mixture hangs on run.seed
    image_side: int = 480  # longest side of a picture in pixels

    def __post_init__(self) -> None:
        check_at_least(1, "inspect", self, ("num_read", "image_side"))
        check_at_least(0, "inspect", self, ("num_shown", "start", "seed"))


@dataclass
class InspectDataOptions(TrainOptions):
    """scripts/inspect_data.py: a page of training data; every option of the run is one of its."""

    inspect: InspectOptions = field(default_factory=InspectOptions)


@dataclass
class BenchTrainingOptions:
    """scripts/bench_training.py: sizes of the random model and of the data."""

    output: str = "outputs/bench/training.json"
    repeats: int = 3  # of every variant, each in a process of its own
    num_epochs: int = 3
    threads: int = 2
    seed: int = 0
    num_images: int = 12  # the last step's are a warm-up
    images_per_step: int = 3
    num_classes: int = 5  # conversations about each image (PLUM; LISA has 3)
    image_height: int = 480  # pixels, as in COCO
    image_width: int = 640
    max_length: int = 2048  # tokens of a packed row at most
    lr: float = 1e-2  # high, so that few steps show whether both sides learn alike
    width: int = 512  # of the language model
    layers: int = 8
    tower_width: int = 128
    tower_layers: int = 4
    segmenter_width: int = 256
    segmenter_layers: int = 6
    segmenter_side: int = 512  # pixels
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class BenchDataOptions:
    """scripts/bench_data.py: sizes of the data that it draws, and what is measured."""

    output: str = "outputs/bench/data.json"
    folder: str = "outputs/bench/data"  # a new folder in it takes the data, and is removed
    readers: list[str] | None = None  # keys of FORMATS in bench/data/formats.py; null: all
    repeats: int = 3  # of every measurement
    seed: int = 0
    num_images: int = 300  # of each reader, the same ones
    num_phrases: int = 5  # grounded in each
    image_height: int = 480  # pixels, as in COCO
    image_width: int = 640
    batch_size: int = 6  # conversations of a step
    num_lines: int = 1_000_000  # of the trajectory file that is opened; 0: none
    paths: PathOptions = field(default_factory=PathOptions)

    def __post_init__(self) -> None:
        names = ("repeats", "num_images", "num_phrases", "batch_size")
        check_at_least(1, "bench_data", self, (*names, "image_height", "image_width"))
        check_at_least(0, "bench_data", self, ("num_lines",))
        if self.num_images < 4 * self.batch_size:
            raise ValueError(
                f"num_images={self.num_images}: two processes need 4 x batch_size="
                f"{4 * self.batch_size} at least"
            )
