"""Options of building stage-2 data from questions, by way of a teacher."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from pixsearch.config.checks import check_at_least, check_positive
from pixsearch.config.choices import (
    AnswerFormat,
    BuildStage,
    Grounder,
    ImageStorage,
    OnError,
    QuestionKind,
    TeacherKind,
    WhenSilent,
)
from pixsearch.config.generation import PolicyOptions
from pixsearch.config.grounding_dino import GroundingDinoOptions
from pixsearch.config.paths import PathOptions
from pixsearch.config.retrieval import ClientOptions, RetrievalOptions


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
class TeacherOptions:
    """Who answers the requests of the stages (pixsearch/trajectories/teacher/)."""

    kind: TeacherKind = TeacherKind.endpoint
    url: str = "https://api.openai.com/v1"  # of an OpenAI-compatible server, without /chat/...
    model: str = "gpt-4.1"  # the paper's
    prompts: str | None = None  # folder with TASK_v1.md files; null: the project's own
    concurrency: int = 8  # requests under way together
    requests_per_minute: int | None = None  # null: no limit
    tokens_per_minute: int | None = None  # in and out, estimated before they are known
    temperature: float | None = 0.7  # null: the server's own
    answer_tokens: int = 2048  # longest answer; a longer one is cut, and asked for again
    answer_tokens_field: str = "max_tokens"  # or max_completion_tokens, for models that reason
    answer_format: AnswerFormat = AnswerFormat.json_schema
    corrections: int = 2  # times that a malformed answer is asked for again, with what is wrong
    image_side: int = 1024  # pixels; larger images are sent scaled down
    image_tokens: int = 1100  # of one image, for limits and estimates; servers count differently
    input_price: float = 0.0  # of a million tokens, in any currency
    output_price: float = 0.0
    cache: str | None = None  # folder of paid answers, shared in turn; null: output_dir/answers
    client: ClientOptions = field(
        default_factory=lambda: ClientOptions(
            timeout_seconds=180.0,
            retries=6,
            backoff_seconds=1.0,
            max_wait_seconds=120.0,
            breaker_failures=50,
            token_variable="OPENAI_API_KEY",
        )
    )

    def __post_init__(self) -> None:
        names = ("concurrency", "requests_per_minute", "tokens_per_minute", "answer_tokens")
        check_at_least(1, "teacher", self, (*names, "image_side"))
        names = ("corrections", "image_tokens", "input_price", "output_price", "temperature")
        check_at_least(0, "teacher", self, names)


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
