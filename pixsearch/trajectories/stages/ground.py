"""The phrases before searches get their masks."""

from collections.abc import Sequence
from typing import Any

from pixsearch.config import BuildStage
from pixsearch.datasets.masks import encode_rle
from pixsearch.trajectories.grounding import empty_ones
from pixsearch.trajectories.quarantine import Reason, Unusable
from pixsearch.trajectories.records import PlannedQuery
from pixsearch.trajectories.stages.stage import Stage
from pixsearch.trajectories.tools import Job, Tools


def ground(job: Job, tools: Tools) -> dict[str, Any]:
    """`{"masks": [RLE]}`, one per search that has a phrase, in their order."""
    if isinstance(job.prepared, Unusable):
        raise job.prepared
    return job.prepared


def ground_together(jobs: Sequence[Job], tools: Tools) -> list[dict[str, Any] | Unusable]:
    """The grounder is for one thread; an image that fails is not the others' fault."""
    made: list[dict[str, Any] | Unusable] = []
    for job in jobs:
        try:
            made.append({"masks": _masks(job, tools)})
        except Unusable as unusable:
            made.append(unusable)
    return made


def queries_of(job: Job) -> list[PlannedQuery]:
    """Of the stage `assign`."""
    return [PlannedQuery.from_json(each) for each in job.values[BuildStage.assign]["queries"]]


def _masks(job: Job, tools: Tools) -> list[dict[str, Any]]:
    phrases = [query.phrase for query in queries_of(job) if query.phrase is not None]
    if not phrases:
        return []
    masks = tools.masks.masks_of(job.asked, phrases)
    if empty := empty_ones(masks):
        raise Unusable(Reason.empty_mask, f"of {phrases[empty[0]]!r}")
    return [encode_rle(mask) for mask in masks]


STAGE = Stage(name=BuildStage.ground, work=ground, settings=("grounder",), together=ground_together)
