"""What a stage asks of the teacher, and what it gets back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from PIL import Image


class Task(StrEnum):
    """What a request is for; each has a prompt of its name in `prompts/`."""

    select = "select"
    decompose = "decompose"
    respond = "respond"
    refine = "refine"
    check = "check"
    choose = "choose"
    assign = "assign"
    judge = "judge"


@dataclass(frozen=True, kw_only=True)
class TeacherRequest:
    """One request.

    Attributes:
        question_key: whose request it is; it is not sent.
        fields: plain values that are sent beside the prompt.
        load_image: decodes the image that is sent along; None without one.
        schema: JSON schema of the answer (`teacher/schema.py` says which part of JSON schema).
        read: makes of an answer that fits the schema what the stage wants; raises ValueError, which
            is told to the teacher, where the answer fits the schema and makes no sense.
    """

    task: Task
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
class Teacher(Protocol):
    """Answers requests; safe for several threads."""

    def complete(self, request: TeacherRequest, corrections: Sequence[Correction]) -> Reply:
        """The answer to a request, after the earlier ones that were no use.

        Raises:
            RefusedRequest: this request will never be answered.
            TeacherUnavailable: none is answered now.
            ValueError: the image cannot be decoded.
        """
        ...


class MalformedAnswer(ValueError):
    """The teacher's answer was no use, as often as it was asked."""


class RefusedRequest(ValueError):
    """The teacher takes this one request for something that it may not or cannot answer."""


class TeacherUnavailable(OSError):
    """The teacher does not answer at all, so that the run ends; started again it goes on."""
