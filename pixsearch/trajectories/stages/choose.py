"""The candidates are refined; the one whose searches stand in the right places is chosen."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from pixsearch.config import BuildStage
from pixsearch.endpoint.schema import NUMBER, TEXT, record
from pixsearch.trajectories.agreement import agreeing
from pixsearch.trajectories.checks import Fault, faults_of
from pixsearch.trajectories.quarantine import Unusable
from pixsearch.trajectories.records import Response, SubQuestion, sub_questions_of
from pixsearch.trajectories.stages.respond import SCHEMA as RESPONSES
from pixsearch.trajectories.stages.respond import read_responses
from pixsearch.trajectories.stages.stage import Stage
from pixsearch.trajectories.teacher.tasks import Task
from pixsearch.trajectories.tools import Job, Tools, request_of

SCHEMA = record(reason=TEXT, chosen=NUMBER)


def choose(job: Job, tools: Tools) -> dict[str, Any]:
    """`{"response", "reason", "num_sound"}`: the chosen one, and how many were without fault.

    Faults that rules can see (checks.py) are told to the teacher when it refines; what still has
    one then, or does not agree with an accepted answer (agreement.py), is no longer a candidate,
    and a single one left is not asked about.
    """
    sub_questions = sub_questions_of(job.values[BuildStage.decompose])
    candidates = [Response.from_json(each) for each in job.values[BuildStage.respond]["responses"]]
    refined = _refined(job, tools, candidates, sub_questions)
    faults = [_faults(each, sub_questions, job, tools) for each in refined]
    sound = [each for each, found in zip(refined, faults, strict=True) if not found]
    if not sound:
        raise Unusable(faults[0][0].reason, "; ".join(fault.told for fault in faults[0]))
    sound = agreeing(job, tools, sound)
    chosen, reason = 1, "the only one without fault"
    if len(sound) > 1:
        chosen, reason = _chosen(job, tools, sound, sub_questions)
    return {"response": asdict(sound[chosen - 1]), "reason": reason, "num_sound": len(sound)}


def _faults(
    response: Response, sub_questions: Sequence[SubQuestion], job: Job, tools: Tools
) -> list[Fault]:
    most_words = tools.options.repeated_answer_words
    return faults_of(response, sub_questions, job.asked.question, most_words=most_words)


def _refined(
    job: Job, tools: Tools, candidates: Sequence[Response], sub_questions: Sequence[SubQuestion]
) -> list[Response]:
    faults = [_faults(each, sub_questions, job, tools) for each in candidates]
    described = [
        {**asdict(each), "faults": [fault.told for fault in found]}
        for each, found in zip(candidates, faults, strict=True)
    ]
    request = request_of(
        job,
        Task.refine,
        schema=RESPONSES,
        read=partial(read_responses, count=len(candidates), sub_questions=sub_questions),
        sub_questions=[asdict(each) for each in sub_questions],
        responses=described,
    )
    return tools.ask(request)


def _chosen(
    job: Job, tools: Tools, sound: Sequence[Response], sub_questions: Sequence[SubQuestion]
) -> tuple[int, str]:
    """Its place, from 1, and why."""
    request = request_of(
        job,
        Task.choose,
        schema=SCHEMA,
        read=partial(_read, count=len(sound)),
        sub_questions=[asdict(each) for each in sub_questions],
        responses=[{"number": place, **asdict(each)} for place, each in enumerate(sound, start=1)],
    )
    return tools.ask(request)


def _read(answer: dict[str, Any], *, count: int) -> tuple[int, str]:
    if not 1 <= answer["chosen"] <= count:
        raise ValueError(f"chosen is {answer['chosen']}; the responses are 1 to {count}")
    return answer["chosen"], answer["reason"]


STAGE = Stage(
    name=BuildStage.choose,
    work=choose,
    settings=("repeated_answer_words",),
    tasks=(Task.refine, Task.check, Task.choose),
)
