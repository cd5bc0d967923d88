"""The stages, in their order. Each is one file; all but `write` go over questions one by one."""

from pixsearch.trajectories.stages import (
    assign,
    choose,
    decompose,
    ground,
    respond,
    retrieve,
    select,
)
from pixsearch.trajectories.stages.stage import Stage

STAGES: tuple[Stage, ...] = (
    select.STAGE,
    decompose.STAGE,
    respond.STAGE,
    choose.STAGE,
    assign.STAGE,
    ground.STAGE,
    retrieve.STAGE,
)
