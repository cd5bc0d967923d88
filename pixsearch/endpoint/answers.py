"""Answers that were paid for, kept on disk: no request is paid for twice."""

from dataclasses import dataclass
from pathlib import Path

from pixsearch.endpoint.keyed_lines import KeyedLines


@dataclass(frozen=True, kw_only=True)
class PaidAnswer:
    """An answer as it came.

    Attributes:
        key: digest of model, prompt and request.
        is_metered: the tokens are the server's count; else they are an estimate.
    """

    key: str
    task: str
    prompt: str
    text: str
    is_cut: bool
    input_tokens: int
    output_tokens: int
    is_metered: bool


class AnswerCache(KeyedLines[PaidAnswer]):
    """The answers of one model."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, PaidAnswer)
