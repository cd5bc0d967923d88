"""What a language model is asked, and what comes back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from PIL import Image


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One request.

    Attributes:
        task: what it is for, which names its prompt.
        question_key: whose request it is; it is not sent.
        fields: plain values that are sent beside the prompt.
        load_image: decodes the image that is sent along; None without one.
        schema: JSON schema of the answer (`endpoint/schema.py` says which part of JSON schema).
        read: makes of an answer that fits the schema what is wanted; raises ValueError, which is
            told to the model, where the answer fits the schema and makes no sense.
    """

    task: str
    question_key: str
    fields: dict[str, Any]
    schema: dict[str, Any]
    read: Callable[[Any], Any]
    load_image: Callable[[], Image.Image] | None = None


@dataclass(frozen=True, kw_only=True)
class Correction:
    """An answer that could not be used, and why."""

    answer: str
    complaint: str


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The words of an answer.

    Attributes:
        is_cut: the answer was ended by the limit of its length.
    """

    text: str
    is_cut: bool = False


@runtime_checkable
class Chat(Protocol):
    """Answers requests; safe for several threads."""

    def complete(self, request: ChatRequest, corrections: Sequence[Correction]) -> Reply:
        """The answer to a request, after the earlier ones that were no use.

        Raises:
            RefusedRequest: this request will never be answered.
            EndpointUnavailable: none is answered now.
            ValueError: the image cannot be decoded.
        """
        ...


class MalformedAnswer(ValueError):
    """The answer was no use, as often as it was asked for."""


class RefusedRequest(ValueError):
    """This one request is taken for something that may not or cannot be answered."""


class EndpointUnavailable(OSError):
    """Nobody answers at all; what was answered before is kept, so that a new run goes on."""
