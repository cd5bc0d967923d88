"""Options of the agent that plays in CRAG-MM's starter kit."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from pixsearch.config.checks import check_at_least, check_positive
from pixsearch.config.choices import OnSearchFailure
from pixsearch.config.generation import GenerationOptions, PolicyOptions
from pixsearch.config.retrieval import RetrievalOptions


def _policy_of_agent() -> PolicyOptions:
    return PolicyOptions(on_search_failure=OnSearchFailure.answer_without)


@dataclass
class CragMMAgentOptions:
    """pixsearch.evaluation.crag_mm_agent.CragMMAgent"""

    checkpoint: str = MISSING
    policy: PolicyOptions = field(default_factory=_policy_of_agent)
    generation: GenerationOptions = field(
        default_factory=lambda: GenerationOptions(batch_size=8)  # so many turns in one call
    )
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    seconds_per_turn: float = 10.0  # a call with n turns has n times as many
    search_share: float = 0.6  # of the seconds; from then on no search begins, none is waited for
    answer_share: float = 0.9  # of the seconds; then answers end with the words that they have
    answer_tokens: int = 75  # longest answer, special tokens that the tokenizer adds included
    answer_tokenizer: str | None = None  # tokenizer.json that counts them; null: the checkpoint's
    history_tokens: int = 512  # of earlier turns, by the checkpoint's tokenizer; the last are kept
    unknown: str = "I don't know."  # said where there is no answer: the kit takes no empty one

    def __post_init__(self) -> None:
        check_positive("crag_mm_agent", self, ("seconds_per_turn", "search_share"))
        check_at_least(1, "crag_mm_agent", self, ("answer_tokens",))
        check_at_least(0, "crag_mm_agent", self, ("history_tokens",))
        if not self.search_share < self.answer_share <= 1:
            raise ValueError(
                f"crag_mm_agent: search_share={self.search_share} is to be less than "
                f"answer_share={self.answer_share}, and that at most 1"
            )
        if not 1 <= self.generation.batch_size <= 16:
            raise ValueError(
                f"generation.batch_size={self.generation.batch_size}: the starter kit gives 1 to "
                "16 turns at a time"
            )
        if self.policy.on_search_failure is not OnSearchFailure.answer_without:
            raise ValueError(
                f"policy.on_search_failure={self.policy.on_search_failure}: an agent goes on when "
                "a search fails or comes too late; set answer_without"
            )
        if not self.unknown.strip():
            raise ValueError("crag_mm_agent.unknown is empty, which the kit takes for no answer")
