"""What a server takes in one request, as its `/info` tells it."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """The limits of a server that are a client's to keep; None where it tells none.

    Attributes:
        max_topk: passages per query.
        max_queries: of one request.
        max_body_mib: of its JSON.
        max_request_megapixels: of all its images.
    """

    max_topk: float | None = None
    max_queries: float | None = None
    max_body_mib: float | None = None
    max_request_megapixels: float | None = None

    @classmethod
    def of_info(cls, info: Any) -> "RequestLimits":
        """Of the JSON of `/info`; another kind of server may tell nothing or something else."""
        told = info.get("limits") if isinstance(info, dict) else None
        told = told if isinstance(told, dict) else {}
        names = [name for name in cls.__dataclass_fields__ if _is_limit(told, name)]
        return cls(**{name: float(told[name]) for name in names})


def _is_limit(told: dict[str, Any], name: str) -> bool:
    value = told.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value > 0
