"""Asks the teacher until its answer can be used, a limited number of times."""

import json
from typing import Any

from pixsearch.trajectories.teacher.request import (
    Correction,
    MalformedAnswer,
    Reply,
    Teacher,
    TeacherRequest,
)
from pixsearch.trajectories.teacher.schema import check


def ask(teacher: Teacher, request: TeacherRequest, *, corrections: int) -> Any:
    """What `request.read` makes of the answer.

    Args:
        corrections: times that an answer which is no use is asked for again, with the reason.

    Raises:
        MalformedAnswer: none of the answers was of use; names the last reason.
        RefusedRequest, TeacherUnavailable, ValueError: as `Teacher.complete`.
    """
    made: list[Correction] = []
    while True:
        reply = teacher.complete(request, made)
        try:
            return _read(reply, request)
        except ValueError as error:
            if len(made) == corrections:
                raise MalformedAnswer(f"{request.task}: {error}") from error
            made.append(Correction(answer=reply.text, complaint=str(error)))


def _read(reply: Reply, request: TeacherRequest) -> Any:
    if reply.is_cut:
        raise ValueError("the answer was cut at its longest length; it must be shorter")
    value = _parse(reply.text)
    check(value, request.schema)
    return request.read(value)


def _parse(text: str) -> Any:
    """The JSON of an answer, also where it stands in a fence of Markdown."""
    inner = text.strip()
    if inner.startswith("```"):
        inner = inner.partition("\n")[2].rpartition("```")[0]
    try:
        return json.loads(inner)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the answer is not JSON ({error})") from error
