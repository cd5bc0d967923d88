"""Which questions need a search, and of which kind they are (the paper's first step)."""

from typing import Any

from pixsearch.config import BuildStage, QuestionKind
from pixsearch.endpoint.schema import YES_OR_NO, choice, record
from pixsearch.trajectories.quarantine import Reason, Unusable
from pixsearch.trajectories.sources import content_digest
from pixsearch.trajectories.stages.stage import Stage
from pixsearch.trajectories.teacher.tasks import Task
from pixsearch.trajectories.tools import Job, Tools, request_of

SCHEMA = record(needs_search=YES_OR_NO, kind=choice(list(QuestionKind)))


def select(job: Job, tools: Tools) -> dict[str, Any]:
    """`{"digest", "needs_search", "kind"}`.

    A question that needs a search and is of a kind that is not kept for it is left out: without a
    search its answer would teach to guess.
    """
    request = request_of(job, Task.select, schema=SCHEMA, read=dict, with_answers=False)
    selected = tools.ask(request)
    if selected["needs_search"] and selected["kind"] not in tools.options.search_kinds:
        raise Unusable(Reason.unsuited_kind, selected["kind"])
    return {"digest": content_digest(job.asked.question), **selected}


STAGE = Stage(name=BuildStage.select, work=select, settings=("search_kinds",), tasks=(Task.select,))
