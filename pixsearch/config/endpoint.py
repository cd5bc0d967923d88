"""Options of a language model behind an OpenAI-compatible server."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from pixsearch.config.checks import check_at_least
from pixsearch.config.choices import AnswerFormat
from pixsearch.config.retrieval import ClientOptions


def patient_client(**changes: Any) -> ClientOptions:
    """For servers that think long and limit their clients."""
    patient = {"timeout_seconds": 180.0, "retries": 6, "breaker_failures": 50}
    waits = {"backoff_seconds": 1.0, "max_wait_seconds": 120.0}
    return ClientOptions(**{**patient, **waits, "token_variable": "OPENAI_API_KEY", **changes})


@dataclass
class EndpointOptions:
    """Who answers requests, and how it is asked (pixsearch/endpoint/)."""

    section: ClassVar[str] = "endpoint"  # what messages call these options

    url: str = "https://api.openai.com/v1"  # of an OpenAI-compatible server, without /chat/...
    model: str = "gpt-4o"
    concurrency: int = 8  # requests under way together
    requests_per_minute: int | None = None  # null: no limit
    tokens_per_minute: int | None = None  # in and out, estimated before they are known
    temperature: float | None = 0.0  # null: the server's own
    answer_tokens: int = 1024  # longest answer; a longer one is cut, and asked for again
    answer_tokens_field: str = "max_tokens"  # or max_completion_tokens, for models that reason
    answer_format: AnswerFormat = AnswerFormat.json_schema
    corrections: int = 2  # times that a malformed answer is asked for again, with what is wrong
    input_price: float = 0.0  # of a million tokens, in any currency
    output_price: float = 0.0
    client: ClientOptions = field(default_factory=patient_client)

    def __post_init__(self) -> None:
        names = ("concurrency", "requests_per_minute", "tokens_per_minute", "answer_tokens")
        check_at_least(1, self.section, self, names)
        names = ("corrections", "input_price", "output_price", "temperature")
        check_at_least(0, self.section, self, names)
