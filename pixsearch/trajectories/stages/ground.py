"""The phrases before searches get their masks."""

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
    return {"masks": job.prepared}


def queries_of(job: Job) -> list[PlannedQuery]:
    """Of the stage `assign`."""
    return [PlannedQuery.from_json(each) for each in job.values[BuildStage.assign]["queries"]]


def find_masks(job: Job, tools: Tools) -> list[dict[str, Any]]:
    """The grounder is for one thread."""
    phrases = [query.phrase for query in queries_of(job) if query.phrase is not None]
    if not phrases:
        return []
    masks = tools.masks.masks_of(job.asked, phrases)
    if empty := empty_ones(masks):
        raise Unusable(Reason.empty_mask, f"of {phrases[empty[0]]!r}")
    return [encode_rle(mask) for mask in masks]


STAGE = Stage(
    name=BuildStage.ground,
    work=ground,
    settings=("grounder",),
    prepare=find_masks,
    finds_masks=True,
)
