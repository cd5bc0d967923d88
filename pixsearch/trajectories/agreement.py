"""Whether answers say the same as accepted ones that nobody would repeat word for word.

The golds of CRAG-MM and WebQA are whole sentences. What rules can see of them is in checks.py; of
the rest the teacher says whether it agrees, and what it does not find to agree is left out.
"""

from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from typing import Any

from pixsearch.endpoint.schema import choice, record, sequence
from pixsearch.trajectories.checks import repeats_answer
from pixsearch.trajectories.quarantine import Reason, Unusable
from pixsearch.trajectories.records import Response
from pixsearch.trajectories.teacher.tasks import Task
from pixsearch.trajectories.tools import Job, Tools, request_of


class Agreement(StrEnum):
    """How an answer stands to the accepted ones."""

    agrees = "agrees"
    incomplete = "incomplete"
    contradicts = "contradicts"


SCHEMA = record(verdicts=sequence(choice(list(Agreement))))


def agreeing(job: Job, tools: Tools, responses: Sequence[Response]) -> list[Response]:
    """Those that say what an accepted answer says, in their order; one that repeats it does.

    Raises:
        Unusable: none does.
    """
    asked = [each for each in responses if not repeats_answer(each, job.asked.question)]
    if not asked:
        return list(responses)
    request = request_of(
        job,
        Task.check,
        schema=SCHEMA,
        read=partial(_read, count=len(asked)),
        answers=[each.answer for each in asked],
    )
    verdicts = tools.ask(request)
    pairs = zip(asked, verdicts, strict=True)
    refused = [each for each, verdict in pairs if verdict is not Agreement.agrees]
    kept = [each for each in responses if each not in refused]
    if not kept:
        told = f"the teacher finds {refused[0].answer!r}: {verdicts[0]}"
        raise Unusable(Reason.answer_not_accepted, told)
    return kept


def _read(answer: dict[str, Any], *, count: int) -> list[Agreement]:
    if len(answer["verdicts"]) != count:
        raise ValueError(f"there are {len(answer['verdicts'])} verdicts, not {count}")
    return [Agreement(each) for each in answer["verdicts"]]
