"""What the mixture of stage 2 does to masks and searches, beside the paper's tables 2 and 3."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pixsearch.config import QueryType
from pixsearch.evaluation.paper import SEMANTIC
from pixsearch.evaluation.paper_tables.filling import figure_cell
from pixsearch.evaluation.paper_tables.folders import (
    EGOCENTRIC,
    NON_EGOCENTRIC,
    Figure,
    ResultFolder,
)
from pixsearch.evaluation.paper_tables.model import Column, Row, Table
from pixsearch.evaluation.paper_tables.searching import Behaviour, search_behaviour

STAGE_1, MIXTURES, BEST = "stage_1", ("1to9", "5to9", "7to9"), "7to9"
KEPT = 0.98  # of stage 1's gIoU: what counts as segmentation kept (issue 6)
QUARTER = (0.15, 0.35)  # what "about a quarter" is taken to mean
VERDICTS = {True: "as in the paper", False: "differs", None: "not measured"}

Folders = Mapping[str, Sequence[ResultFolder]]


@dataclass(frozen=True, kw_only=True)
class Direction:
    """One thing that the paper found, and what was found here.

    Attributes:
        holds: None where it was not measured.
    """

    statement: str
    ours: str
    paper: str
    holds: bool | None


def mixtures_tables(rows: Folders) -> tuple[Table, Table]:
    """Figures of stage 1 and of each mixture, and the paper's directions.

    Args:
        rows: `stage_1`, `1to9`, `5to9`, `7to9` → evaluations of the miniature; several are seeds.

    Raises:
        ValueError: a row has another name, or stage 1 is missing.
    """
    unknown = sorted(set(rows) - {STAGE_1, *MIXTURES})
    if unknown or not rows.get(STAGE_1):
        raise ValueError(
            f"rows of table=mixtures are {STAGE_1} (needed), {', '.join(MIXTURES)}; "
            f"got {', '.join(rows) or 'none'}"
        )
    behaviours = {
        name: search_behaviour(rows[name][0], "full") for name in MIXTURES if rows.get(name)
    }
    return _figures_table(rows), _directions_table(directions(_mean_giou(rows), behaviours))


def directions(
    giou: Mapping[str, float], behaviours: Mapping[str, Mapping[str, Behaviour]]
) -> list[Direction]:
    """The paper's findings on mixtures and on searches, each with what is so here.

    Args:
        giou: free-running, by row.
        behaviours: by mixture, then by kind of image.
    """
    best = behaviours.get(BEST, {})
    return [*_mask_directions(giou), *_search_directions(best)]


def _mask_directions(giou: Mapping[str, float]) -> list[Direction]:
    printed = {name: SEMANTIC[name][0] / SEMANTIC["plum_13b"][0] for name in MIXTURES}
    found = []
    for name in MIXTURES:
        ratio = giou[name] / giou[STAGE_1] if name in giou and giou[STAGE_1] else None
        is_kept = printed[name] >= KEPT
        found.append(
            Direction(
                statement=f"gIoU at {_colon(name)} is {'at least' if is_kept else 'below'} "
                f"{KEPT} of stage 1's",
                ours=_number(ratio),
                paper=f"{printed[name]:.3f} (mIoU of ADE20K, PLUM for stage 1)",
                holds=None if ratio is None else (ratio >= KEPT) == is_kept,
            )
        )
    ordered = [giou[name] for name in MIXTURES if name in giou]
    found.append(
        Direction(
            statement="gIoU rises from 1:9 over 5:9 to 7:9",
            ours=", ".join(_number(value) for value in ordered) or "-",
            paper=", ".join(f"{SEMANTIC[name][0]:.2f}" for name in MIXTURES),
            holds=None if len(ordered) < len(MIXTURES) else ordered == sorted(set(ordered)),
        )
    )
    return found


def _search_directions(kinds: Mapping[str, Behaviour]) -> list[Direction]:
    """Figure 4, of the mixture 7:9."""
    cluttered, others = kinds.get(EGOCENTRIC), kinds.get(NON_EGOCENTRIC)
    both = [kind for kind in (cluttered, others) if kind]
    regions = [kind.share(QueryType.region) for kind in both]
    words = cluttered.share(QueryType.text) if cluttered else None
    return [
        Direction(
            statement="more searches about egocentric images than about others",
            ours=", ".join(f"{kind.per_answer:.2f}" for kind in both) or "-",
            paper="mostly 3 to 4, 2 to 3",
            holds=cluttered.per_answer > others.per_answer if cluttered and others else None,
        ),
        Direction(
            statement="most answers about egocentric images search 3 or 4 times",
            ours=str(cluttered.usual) if cluttered else "-",
            paper="3 or 4 times",
            holds=cluttered.usual in (3, 4) if cluttered else None,
        ),
        Direction(
            statement="region is the most used type of query",
            ours=", ".join(_number(share) for share in regions) or "-",
            paper="the most used",
            holds=all(map(_mostly_regions, both))
            if any(kind.num_searches for kind in both)
            else None,
        ),
        Direction(
            statement="about a quarter of the queries about egocentric images are text",
            ours=_number(words),
            paper="about 0.25",
            holds=None if words is None else QUARTER[0] <= words <= QUARTER[1],
        ),
    ]


def _mostly_regions(kind: Behaviour) -> bool:
    others = [count for name, count in kind.by_type.items() if name != QueryType.region]
    return kind.by_type[QueryType.region] > max(others)


def _figures_table(rows: Folders) -> Table:
    heads = [
        Column(name="gIoU", group="masks"),
        Column(name="gIoU, teacher-forced", group="masks"),
        Column(name="accuracy", group="answers"),
        *(
            Column(name=name, group=f"searches per answer, {kind.replace('_', '-')}")
            for kind in (EGOCENTRIC, NON_EGOCENTRIC)
            for name in ("all", *(type.value for type in QueryType))
        ),
    ]
    names = [name for name in (STAGE_1, *MIXTURES) if rows.get(name)]
    return Table(
        title="Mixtures of stage 2 in the miniature world",
        corner="stage 1 : stage 2",
        columns=tuple(heads),
        rows=tuple(_row(name, rows[name]) for name in names),
    )


def _row(name: str, folders: Sequence[ResultFolder]) -> Row:
    policy = "no_search" if name == STAGE_1 else "full"
    calls = [("calls_per_sample", kind, type) for kind in (EGOCENTRIC, NON_EGOCENTRIC)
             for type in ("all", *(type.value for type in QueryType))]  # fmt: skip
    cells = [
        figure_cell(_masks(folders, "segmentation")),
        figure_cell(_masks(folders, "teacher_forced_segmentation")),
        figure_cell(_of_policy(folders, policy, ("overall", "accuracy"))),
        *(figure_cell(_of_policy(folders, policy, path), is_share=False) for path in calls),
    ]
    label = "stage 1 alone (answers without search)" if name == STAGE_1 else _colon(name)
    return Row(label=label, cells=tuple(cells))


def _masks(folders: Sequence[ResultFolder], name: str) -> list[Figure]:
    found: list[Any] = [folder.results.get(name) for folder in folders]
    return [
        Figure(
            value=scores["giou"],
            interval=tuple(scores["giou_interval"]) if scores.get("giou_interval") else None,
            n=scores["n"],
        )
        for scores in found
        if scores and scores["giou"] is not None
    ]


def _of_policy(folders: Sequence[ResultFolder], policy: str, path: tuple[str, ...]) -> list[Figure]:
    found = [folder.figure(policy, path) for folder in folders]
    return [figure for figure in found if figure is not None]


def _mean_giou(rows: Folders) -> dict[str, float]:
    figures = {name: _masks(folders, "segmentation") for name, folders in rows.items()}
    return {
        name: fmean(figure.value for figure in found) for name, found in figures.items() if found
    }


def _directions_table(found: Sequence[Direction]) -> Table:
    return Table(
        title="The paper's findings, and what is so here",
        corner="finding",
        columns=(Column(name="here"), Column(name="paper"), Column(name="")),
        rows=tuple(
            Row(label=each.statement, cells=(each.ours, each.paper, VERDICTS[each.holds]))
            for each in found
        ),
    )


def _colon(name: str) -> str:
    return name.replace("to", ":")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
