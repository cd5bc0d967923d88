"""A question becomes atomic sub-questions, each of which needs a search or does not."""

from dataclasses import asdict
from typing import Any

from pixsearch.config import BuildStage
from pixsearch.endpoint.schema import TEXT, YES_OR_NO, record, sequence
from pixsearch.trajectories.quarantine import Reason, Unusable
from pixsearch.trajectories.records import SubQuestion
from pixsearch.trajectories.stages.stage import Stage
from pixsearch.trajectories.teacher.tasks import Task
from pixsearch.trajectories.tools import Job, Tools, request_of

SCHEMA = record(
    sub_questions=sequence(record(question=TEXT, needs_search=YES_OR_NO, answer=TEXT)),
)


def decompose(job: Job, tools: Tools) -> dict[str, Any]:
    """`{"sub_questions": [SubQuestion]}`, at least one of which needs a search."""
    sub_questions = tools.ask(request_of(job, Task.decompose, schema=SCHEMA, read=_read))
    num_searches = sum(each.needs_search for each in sub_questions)
    if num_searches == 0:
        raise Unusable(Reason.nothing_to_search, "no sub-question needs a search")
    if num_searches > tools.options.max_searches:
        detail = f"{num_searches} searches, max_searches={tools.options.max_searches}"
        raise Unusable(Reason.too_many_searches, detail)
    return {"sub_questions": [asdict(each) for each in sub_questions]}


def _read(answer: dict[str, Any]) -> list[SubQuestion]:
    given = answer["sub_questions"]
    if not given:
        raise ValueError("sub_questions is empty; a question that stands alone is its own only one")
    if any(not each["question"].strip() for each in given):
        raise ValueError("a sub-question has no words")
    return [SubQuestion(number=number, **each) for number, each in enumerate(given, start=1)]


STAGE = Stage(
    name=BuildStage.decompose,
    work=decompose,
    settings=("max_searches",),
    tasks=(Task.decompose,),
)
