"""What the stages work with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pixsearch.config import BuildStage, BuildTrajectoriesOptions
from pixsearch.endpoint.asking import ask
from pixsearch.endpoint.request import (
    Chat,
    ChatRequest,
    MalformedAnswer,
    RefusedRequest,
)
from pixsearch.queries import Search
from pixsearch.trajectories.grounding import MaskSource
from pixsearch.trajectories.quarantine import Reason, Unusable
from pixsearch.trajectories.sources import SourcedQuestion
from pixsearch.trajectories.teacher.tasks import Task

WITH_IMAGE = frozenset(Task) - {Task.judge, Task.check}
Values = dict[BuildStage, dict[str, Any]]
"""What the earlier stages found out about a question."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A question on its way through a stage.

    Attributes:
        prepared: what the stage's `prepare` made for it.
    """

    asked: SourcedQuestion
    values: Values
    prepared: Any = None


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What is shared by all stages.

    Attributes:
        settings: the options as plain values.
        prompt_versions: of every task.
        teacher_identity, source_identity: all that decides what teacher and search answer.
        masks_identity: of the files behind `masks`, whose names alone the options know.
    """

    options: BuildTrajectoriesOptions
    settings: dict[str, Any]
    teacher: Chat
    search: Search
    masks: MaskSource
    prompt_versions: dict[Task, str]
    teacher_identity: dict[str, Any] = field(default_factory=dict)
    source_identity: dict[str, Any] = field(default_factory=dict)
    masks_identity: str | None = None

    def ask(self, request: ChatRequest) -> Any:
        """What the teacher answers, as `request.read` returns it.

        Raises:
            Unusable: there is no answer to this request.
            EndpointUnavailable: there is none to any.
        """
        try:
            return ask(self.teacher, request, corrections=self.options.teacher.corrections)
        except MalformedAnswer as error:
            raise Unusable(Reason.malformed_answer, str(error)) from error
        except RefusedRequest as error:
            raise Unusable(Reason.refused_request, str(error)) from error
        except ValueError as error:
            raise Unusable(Reason.broken_image, str(error)) from error


def request_of(
    job: Job,
    task: Task,
    *,
    schema: dict[str, Any],
    read: Any,
    with_answers: bool = True,
    **fields: Any,
) -> ChatRequest:
    """A request about a job's question; what is asked, the image and earlier turns are sent.

    Passages and answers are judged without the image: by their words alone.
    """
    question = job.asked.question
    sent: dict[str, Any] = {"question": question.question, "has_image": job.asked.has_image}
    if question.history:
        sent["earlier_turns"] = [{"question": q, "answer": a} for q, a in question.history]
    if with_answers:
        sent["accepted_answers"] = distinct(question.answers)
    return ChatRequest(
        task=task,
        question_key=job.asked.key,
        fields={**sent, **fields},
        schema=schema,
        read=read,
        load_image=question.load_image if task in WITH_IMAGE else None,
    )


def distinct(values: Sequence[str]) -> list[str]:
    """Each value once, in the order of first occurrence."""
    return list(dict.fromkeys(values))
