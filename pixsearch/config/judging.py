"""Options of judging saved answers."""

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from pixsearch.config.checks import check_at_least
from pixsearch.config.endpoint import EndpointOptions, patient_client
from pixsearch.config.evaluation import EvaluateOptions
from pixsearch.config.evaluation_choices import JudgeKind
from pixsearch.config.retrieval import ClientOptions


@dataclass
class JudgeEndpointOptions(EndpointOptions):
    """A judge behind an OpenAI-compatible server."""

    section: ClassVar[str] = "judge.endpoint"

    client: ClientOptions = field(
        default_factory=partial(patient_client, timeout_seconds=60.0, retries=4)
    )


@dataclass
class LocalJudgeOptions:
    """A judge on this machine: a causal language model of transformers with a chat template."""

    model: str = ""  # folder or hub id
    revision: str | None = None  # of a hub id: commit, tag or branch
    batch_size: int = 8
    answer_tokens: int = 256  # longest answer; one that is cut is no verdict

    def __post_init__(self) -> None:
        check_at_least(1, "judge.local", self, ("batch_size", "answer_tokens"))


@dataclass
class JudgeOptions:
    """`configs/judge/`: who gives verdicts on answers."""

    kind: JudgeKind = JudgeKind.endpoint
    prompt: str | None = None  # a file with other words; null: the project's own
    endpoint: JudgeEndpointOptions = field(default_factory=JudgeEndpointOptions)
    local: LocalJudgeOptions = field(default_factory=LocalJudgeOptions)
    give_up_after: int = 20  # requests in a row that nobody answered; the rest stays unscored

    def __post_init__(self) -> None:
        check_at_least(1, "judge", self, ("give_up_after",))


@dataclass
class JudgingOptions(EvaluateOptions):
    """scripts/judge.py: verdicts on what was predicted, with the options of evaluate.py."""

    judge: JudgeOptions = field(default_factory=JudgeOptions)
    second_judge: JudgeOptions | None = None  # on the same answers, to see how far they agree
    policies: list[str] = field(default_factory=list)  # these alone; empty: all that were predicted
    retry_unscored: bool = False  # ask once more about answers without a verdict
    verdict_cache: str = "outputs/verdict_cache"  # folder of verdicts, shared by all runs
