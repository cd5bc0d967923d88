"""What a table is before it is Markdown, LaTeX or HTML: figures and words, no layout of text."""

from dataclasses import dataclass

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One figure. Shares are fractions, which are written in percent.

    Attributes:
        value: ours; None where it was not run.
        interval: bounds of its 95 % interval.
        deviation: standard deviation over seeds, where there are several.
        paper: the paper's figure.
        n: what `value` is a mean over.
        mark: number of the table's note that speaks of `paper`.
        is_signed: written with its sign.
        is_share: in percent; else as it is (calls per answer).
        decimals: of a share in percent, as many as the paper prints.
    """

    value: float | None = None
    interval: Interval | None = None
    deviation: float | None = None
    paper: float | None = None
    n: int | None = None
    mark: int | None = None
    is_signed: bool = False
    is_share: bool = True
    decimals: int = 1

    def written(self, value: float | None) -> str:
        """
        >>> Cell(is_signed=True).written(0.25), Cell(is_share=False).written(1.5)
        ('+25.0', '1.50')
        >>> Cell(decimals=2).written(0.527)
        '52.70'
        >>> Cell().written(None)
        '-'
        """
        if value is None:
            return "-"
        text = f"{100 * value:+.{self.decimals}f}" if self.is_share else f"{value:+.2f}"
        return text if self.is_signed else text.removeprefix("+")

    @property
    def spread(self) -> str:
        """Of our figure: over seeds if there are several, else its interval; may be empty."""
        if self.deviation is not None:
            return f"± {self.written(self.deviation).removeprefix('+')}"
        if self.interval is None:
            return ""
        return f"[{', '.join(self.written(bound) for bound in self.interval)}]"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading.

    Attributes:
        group: stands above neighbouring columns that share it; empty: nothing does.
    """

    name: str
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    label: str
    cells: tuple[Cell | str, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows below headings, and what is said of them.

    Attributes:
        corner: what the rows are.
        notes: those that cells mark, the first is number 1.
    """

    title: str
    corner: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert all(len(row.cells) == len(self.columns) for row in self.rows)

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Each run of columns of one group, with its length."""
        runs: list[tuple[str, int]] = []
        for column in self.columns:
            if runs and runs[-1][0] == column.group:
                runs[-1] = (column.group, runs[-1][1] + 1)
            else:
                runs.append((column.group, 1))
        return runs


@dataclass(frozen=True, kw_only=True)
class Document:
    """All that is written to one file.

    Attributes:
        legend: how a cell is read.
        protocol: how the scores came about: name → what is so.
    """

    title: str
    legend: str
    tables: tuple[Table, ...]
    protocol: tuple[tuple[str, str], ...]
