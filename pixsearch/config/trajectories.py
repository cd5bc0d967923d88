"""Options of building stage-2 data from questions, by way of a teacher."""

from dataclasses import dataclass, field
from typing import ClassVar

from omegaconf import MISSING

from pixsearch.config.checks import check_at_least, check_positive
from pixsearch.config.choices import (
    BuildStage,
    Grounder,
    ImageStorage,
    OnError,
    QuestionKind,
    TeacherKind,
    WhenSilent,
)
from pixsearch.config.endpoint import EndpointOptions
from pixsearch.config.generation import PolicyOptions
from pixsearch.config.grounding_dino import GroundingDinoOptions
from pixsearch.config.paths import PathOptions
from pixsearch.config.retrieval import RetrievalOptions


@dataclass
class QuestionSourceOptions:
    """One set of questions: `sources.NAME` to build from, `held_out.NAME` to keep apart."""

    # key of pixsearch.datasets.questions.QUESTION_READERS, or miniature; of what is held out also
    # one of pixsearch.datasets.READERS (refcoco, …), whose images and expressions are compared
    reader: str = MISSING
    root: str = MISSING
    split: str = "train"
    limit: int | None = None  # first n questions only

    def __post_init__(self) -> None:
        check_at_least(1, "sources", self, ("limit",))


@dataclass
class TeacherOptions(EndpointOptions):
    """Who answers the requests of the stages (pixsearch/trajectories/teacher/)."""

    section: ClassVar[str] = "teacher"

    kind: TeacherKind = TeacherKind.endpoint
    model: str = "gpt-4.1"  # the paper's
    prompts: str | None = None  # folder with TASK_v1.md files; null: the project's own
    temperature: float | None = 0.7  # null: the server's own
    answer_tokens: int = 2048  # longest answer; a longer one is cut, and asked for again
    image_side: int = 1024  # pixels; larger images are sent scaled down
    image_tokens: int = 1100  # of one image, for limits and estimates; servers count differently
    cache: str | None = None  # folder of paid answers, shared in turn; null: output_dir/answers

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, self.section, self, ("image_side",))
        check_at_least(0, self.section, self, ("image_tokens",))


@dataclass
class GrounderOptions:
    """Where the masks of phrases come from."""

    kind: Grounder = Grounder.grounding_dino
    grounding_dino: GroundingDinoOptions = field(default_factory=GroundingDinoOptions)
    masks: str = ""  # of kind=given: a file of lines {"question", "phrase", "mask"}
    checkpoint: str = ""  # of kind=checkpoint: a trained PixSearch


@dataclass
class EstimateOptions:
    """What a dry run assumes of stages that have not been run; set it from a small sample."""

    search_share: float = 0.5  # of questions that need a search
    searches: float = 2.0  # of an answer
    characters_per_token: float = 4.0

    def __post_init__(self) -> None:
        check_at_least(0, "estimate", self, ("search_share", "searches"))
        check_positive("estimate", self, ("characters_per_token",))


@dataclass
class BuildTrajectoriesOptions:
    """scripts/build_trajectories.py"""

    output_dir: str = MISSING  # becomes a root of the reader `trajectories`
    sources: dict[str, QuestionSourceOptions] = field(default_factory=dict)
    held_out: dict[str, QuestionSourceOptions] = field(default_factory=dict)
    held_out_by_content: bool = False  # decode every image and compare pixels; always if embedded
    exclude_eval_images: bool = False  # leave out questions whose image is also held out
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    grounder: GrounderOptions = field(default_factory=GrounderOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    policy: PolicyOptions = field(default_factory=PolicyOptions)  # k and region_crop of evidence
    search_kinds: list[QuestionKind] = field(
        default_factory=lambda: [
            QuestionKind.multi_hop_knowledge,
            QuestionKind.fine_grained_entity,
            QuestionKind.factoid,
        ]
    )
    num_candidates: int = 5  # responses of which one is chosen
    repeated_answer_words: int = 4  # a gold of more words need not be repeated; the teacher checks
    max_searches: int = 4  # of a response
    max_text_queries: int = 3  # candidates of one search by text
    without_search_share: float = 0.2  # largest share of answers without a search; 1: keep all
    when_silent: WhenSilent = WhenSilent.quarantine
    abstention: str = "I don't know"  # the answer of when_silent=abstain
    on_error: OnError = OnError.quarantine  # of a question that cannot be used
    retry_quarantined: bool = False  # ask again about what a mended file or server may mend
    images: ImageStorage = ImageStorage.link
    until: BuildStage = BuildStage.write  # the last stage of this run
    dry_run: bool = False  # estimate requests, tokens and cost; ask and write nothing
    estimate: EstimateOptions = field(default_factory=EstimateOptions)
    seed: int = 0  # of which answers without a search are kept
    paths: PathOptions = field(default_factory=PathOptions)

    def __post_init__(self) -> None:
        names = ("num_candidates", "max_searches", "max_text_queries")
        check_at_least(1, "build_trajectories", self, names)
        check_at_least(0, "build_trajectories", self, ("repeated_answer_words",))
        if not 0 <= self.without_search_share <= 1:
            raise ValueError(
                f"without_search_share={self.without_search_share}: between 0 and 1 is needed"
            )
