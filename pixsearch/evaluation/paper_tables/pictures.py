"""What all pictures share: colours, intervals, and how they become PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from matplotlib.figure import Figure

from pixsearch.evaluation.paper_tables.model import Document

COLOURS = ("#2f5fb3", "#c2571a", "#6b7686")
DOTS_PER_INCH = 110


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure's PNG, and what there is to read beside it."""

    png: bytes
    document: Document | None = None


def as_png(figure: Figure) -> bytes:
    """The same bytes for the same figure: no version of the library is written into it."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def errors(
    values: Sequence[float], bounds: Sequence[tuple[float, float]]
) -> tuple[list[float], list[float]]:
    """How far intervals reach below and above their values, as matplotlib takes them."""
    below = [max(0.0, value - low) for value, (low, _) in zip(values, bounds, strict=True)]
    above = [max(0.0, high - value) for value, (_, high) in zip(values, bounds, strict=True)]
    return below, above
