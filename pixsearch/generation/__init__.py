"""Generation with search in the middle of an answer."""

from pixsearch.generation.engine import Choose, Engine, greedy
from pixsearch.generation.records import (
    EngineStats,
    FinishReason,
    GroundedRecord,
    RegionOverride,
    Request,
    SearchRecord,
    Trajectory,
)

__all__ = [
    "Choose",
    "Engine",
    "EngineStats",
    "FinishReason",
    "GroundedRecord",
    "RegionOverride",
    "Request",
    "SearchRecord",
    "Trajectory",
    "greedy",
]
