"""Curves over training steps as inline SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT, LEFT, BOTTOM = 380, 200, 46, 24  # pixels; the last two hold the axes' figures
COLOURS = ("#2f5fb3", "#c2571a")


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Smallest and largest value of each axis."""

    left: float
    right: float
    low: float
    high: float

    @classmethod
    def around(cls, points: Points) -> "Axes":
        left, right = _bounds([x for x, _ in points])
        low, high = _bounds([y for _, y in points])
        return cls(left=left, right=right, low=low, high=high)

    def place(self, point: tuple[float, float]) -> str:
        """`x,y` in the drawing's pixels."""
        x = LEFT + (point[0] - self.left) / (self.right - self.left) * (WIDTH - LEFT)
        height = HEIGHT - BOTTOM
        y = height - (point[1] - self.low) / (self.high - self.low) * (height - 8)
        return f"{x:.1f},{y:.1f}"


def curves(title: str, series: Mapping[str, Points]) -> str:
    """A figure of at most two lines; nothing without points."""
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    axes = Axes.around(points)
    coloured = list(zip(COLOURS, series, strict=False))
    lines = "".join(_line(axes, series[name], colour) for colour, name in coloured)
    legend = " ".join(
        f'<span style="color:{colour}">{escape(name)}</span>' for colour, name in coloured
    )
    return (
        f"<figure><figcaption>{escape(title)} {legend}</figcaption>"
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img">'
        f'<path d="M{LEFT} 4V{HEIGHT - BOTTOM}H{WIDTH}" fill="none" stroke="#b8bfca"/>'
        f"{lines}{_figures(axes)}</svg></figure>"
    )


def thinned(points: Points, *, most: int = 400) -> list[tuple[float, float]]:
    """Neighbouring points averaged, so that no more than `most` are left.

    >>> thinned([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)], most=2)
    [(0.5, 2.0), (2.0, 5.0)]
    """
    size = max(1, -(-len(points) // most))
    groups = (points[start : start + size] for start in range(0, len(points), size))
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]


def _line(axes: Axes, points: Points, colour: str) -> str:
    places = " ".join(axes.place(point) for point in points)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.4" points="{places}"/>'


def _figures(axes: Axes) -> str:
    """The axes' bounds, written beside them."""
    labels = (
        (0, 12, f"{axes.high:.3g}"),
        (0, HEIGHT - BOTTOM, f"{axes.low:.3g}"),
        (LEFT, HEIGHT - 6, f"step {axes.left:.0f}"),
        (WIDTH - 60, HEIGHT - 6, f"{axes.right:.0f}"),
    )
    return "".join(
        f'<text x="{x}" y="{y}" font-size="11" fill="#596273">{label}</text>'
        for x, y, label in labels
    )


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
