"""Candidate answers with searches in them, from question, sub-questions and gold answer."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from pixsearch.config import BuildStage
from pixsearch.endpoint.schema import NUMBER, TEXT, record, sequence
from pixsearch.trajectories.records import Response, Segment, SubQuestion, sub_questions_of
from pixsearch.trajectories.stages.stage import Stage
from pixsearch.trajectories.teacher.tasks import Task
from pixsearch.trajectories.tools import Job, Tools, request_of

SCHEMA = record(
    responses=sequence(
        record(segments=sequence(record(words=TEXT, sub_question=NUMBER)), answer=TEXT)
    ),
)
"""All candidates come in one answer, told to differ: the image is paid for once."""


def respond(job: Job, tools: Tools) -> dict[str, Any]:
    """`{"responses": [Response]}`, N of them."""
    sub_questions = sub_questions_of(job.values[BuildStage.decompose])
    count = tools.options.num_candidates
    request = request_of(
        job,
        Task.respond,
        schema=SCHEMA,
        read=partial(read_responses, count=count, sub_questions=sub_questions),
        sub_questions=[asdict(each) for each in sub_questions],
        num_responses=count,
    )
    return {"responses": [asdict(response) for response in tools.ask(request)]}


def read_responses(
    answer: dict[str, Any], *, count: int, sub_questions: Sequence[SubQuestion]
) -> list[Response]:
    """The responses of an answer.

    Raises:
        ValueError: not as many as asked for, no such sub-question, or no answer at the end.
    """
    responses = [_response(each) for each in answer["responses"]]
    if len(responses) != count:
        raise ValueError(f"there are {len(responses)} responses, not {count}")
    numbers = {each.number for each in sub_questions}
    for place, response in enumerate(responses, start=1):
        unknown = {segment.sub_question for segment in response.segments} - numbers
        if unknown:
            raise ValueError(f"response {place} searches for sub_question {min(unknown)}: no such")
        if not response.answer:
            raise ValueError(f"response {place} has no answer behind its last search")
    return responses


def _response(value: dict[str, Any]) -> Response:
    segments = [
        Segment(words=each["words"].strip(), sub_question=each["sub_question"])
        for each in value["segments"]
    ]
    return Response(segments=tuple(segments), answer=value["answer"].strip())


STAGE = Stage(
    name=BuildStage.respond, work=respond, settings=("num_candidates",), tasks=(Task.respond,)
)
