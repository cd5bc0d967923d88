"""Generation with search in the middle of an answer."""

from pixsearch.generation.choosing import Choose, greedy
from pixsearch.generation.engine import Engine
from pixsearch.generation.events import (
    Cancelled,
    Event,
    EvidenceEvent,
    Failure,
    FailureKind,
    Finished,
    MaskEvent,
    SearchStarted,
    TokenEvent,
)
from pixsearch.generation.online import OnlineEngine
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
    "Cancelled",
    "Choose",
    "Engine",
    "EngineStats",
    "Event",
    "EvidenceEvent",
    "Failure",
    "FailureKind",
    "FinishReason",
    "Finished",
    "GroundedRecord",
    "MaskEvent",
    "OnlineEngine",
    "RegionOverride",
    "Request",
    "SearchRecord",
    "SearchStarted",
    "TokenEvent",
    "Trajectory",
    "greedy",
]
