"""What the mixture of stage 2 does to masks and searches, beside the paper's tables 2 and 3."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pixsearch.config import QueryType
from pixsearch.evaluation.paper import PAPER, SCORES, SEMANTIC, SYSTEMS
from pixsearch.evaluation.paper_tables.directions import (
    Direction,
    directions_table,
    search_directions,
    written,
)
from pixsearch.evaluation.paper_tables.filling import NOT_RUN, figure_cell, written_n
from pixsearch.evaluation.paper_tables.folders import (
    EGOCENTRIC,
    NON_EGOCENTRIC,
    Figure,
    ResultFolder,
)
from pixsearch.evaluation.paper_tables.model import Cell, Column, Row, Table
from pixsearch.evaluation.paper_tables.searching import Behaviour, search_behaviour

STAGE_1, MIXTURES, BEST = "stage_1", ("1to9", "5to9", "7to9"), "7to9"
PIPELINE = "pipeline"  # a policy, and the row of what it answered
POLICIES = {STAGE_1: "no_search", PIPELINE: PIPELINE}  # of rows; of the others `full`
LABELS = {STAGE_1: "stage 1 alone (answers without search)", PIPELINE: "pipeline baseline"}
KEPT = 0.98  # of stage 1's gIoU: what counts as segmentation kept (issue 6)

Folders = Mapping[str, Sequence[ResultFolder]]


def mixtures_tables(rows: Folders) -> tuple[Table, Table]:
    """Figures of stage 1, of each mixture and of the pipeline baseline, and the paper's directions.

    Args:
        rows: `stage_1`, `1to9`, `5to9`, `7to9` → evaluations of the miniature; several are seeds.
            `pipeline` → of policy `pipeline`; by default those of 7:9 that have it.

    Raises:
        ValueError: a row has another name, stage 1 is missing, or a folder lacks its row's policy.
    """
    known = (STAGE_1, *MIXTURES, PIPELINE)
    if set(rows) - set(known) or not rows.get(STAGE_1):
        raise ValueError(
            f"rows of table=mixtures are {STAGE_1} (needed), {', '.join(known[1:])}; "
            f"got {', '.join(rows) or 'none'}"
        )
    rows = {**rows, PIPELINE: rows.get(PIPELINE) or _with_pipeline(rows.get(BEST, ()))}
    for folder in rows[PIPELINE]:
        if PIPELINE not in folder.sections:
            raise ValueError(f"{folder.path} has nothing of pipeline; evaluate policy=pipeline")
    kinds = search_behaviour(rows[BEST], "full") if rows.get(BEST) else {}
    found = directions(_mean_giou(rows), kinds, _mean_accuracy(rows))
    return _figures_table(rows), directions_table(found)


def directions(
    giou: Mapping[str, float], kinds: Mapping[str, Behaviour], accuracy: Mapping[str, float]
) -> list[Direction]:
    """The paper's findings on mixtures and on searches, each with what is so here.

    Args:
        giou: free-running, by row.
        kinds: how answers of 7:9 searched, by kind of image.
        accuracy: by row.
    """
    return [*_mask_directions(giou), *search_directions(kinds), _pipeline_direction(accuracy)]


def _with_pipeline(folders: Sequence[ResultFolder]) -> list[ResultFolder]:
    return [folder for folder in folders if PIPELINE in folder.sections]


def _pipeline_direction(accuracy: Mapping[str, float]) -> Direction:
    """Table 1, all images."""
    place = SCORES.index("accuracy")
    printed = (SYSTEMS[PIPELINE][0][place], PAPER["full"][0][place])
    ours = [accuracy.get(name) for name in (PIPELINE, BEST)]
    pipeline, best = ours
    return Direction(
        statement=f"accuracy of the pipeline baseline is below that of {_colon(BEST)}",
        ours=NOT_RUN if pipeline is None else ", ".join(map(written, ours)),
        paper=", ".join(f"{percent / 100:.3f}" for percent in printed),
        holds=None if pipeline is None or best is None else pipeline < best,
    )


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
                ours=written(ratio),
                paper=f"{printed[name]:.3f} (mIoU of ADE20K, PLUM for stage 1)",
                holds=None if ratio is None else (ratio >= KEPT) == is_kept,
            )
        )
    ordered = [giou[name] for name in MIXTURES if name in giou]
    found.append(
        Direction(
            statement="gIoU rises from 1:9 over 5:9 to 7:9",
            ours=", ".join(map(written, ordered)) or "-",
            paper=", ".join(f"{SEMANTIC[name][0]:.2f}" for name in MIXTURES),
            holds=None if len(ordered) < len(MIXTURES) else ordered == sorted(set(ordered)),
        )
    )
    return found


def _figures_table(rows: Folders) -> Table:
    heads = [
        Column(name="gIoU", group="masks"),
        Column(name="gIoU, teacher-forced", group="masks"),
        Column(name="phrases", group="masks"),
        Column(name="accuracy", group="answers"),
        Column(name="n", group="answers"),
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
        rows=tuple(_row(name, rows[name]) for name in (*names, PIPELINE)),
    )


def _row(name: str, folders: Sequence[ResultFolder]) -> Row:
    policy = POLICIES.get(name, "full")
    calls = [("calls_per_sample", kind, type) for kind in (EGOCENTRIC, NON_EGOCENTRIC)
             for type in ("all", *(type.value for type in QueryType))]  # fmt: skip
    answers = _of_policy(folders, policy, ("overall", "accuracy"))
    cells = [
        *(_mask_cells(folders) if name != PIPELINE else ("-", "-", "-")),  # its masks are others'
        figure_cell(answers),
        written_n(answers) if answers else NOT_RUN,
        *(figure_cell(_of_policy(folders, policy, path), is_share=False) for path in calls),
    ]
    return Row(label=LABELS.get(name, _colon(name)), cells=tuple(cells))


def _mask_cells(folders: Sequence[ResultFolder]) -> tuple[Cell | str, ...]:
    found = _masks(folders, "segmentation")
    forced = _masks(folders, "teacher_forced_segmentation")
    return figure_cell(found), figure_cell(forced), written_n(found)


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
    return _means({name: _masks(folders, "segmentation") for name, folders in rows.items()})


def _mean_accuracy(rows: Folders) -> dict[str, float]:
    figures = {
        name: _of_policy(folders, POLICIES.get(name, "full"), ("overall", "accuracy"))
        for name, folders in rows.items()
    }
    return _means(figures)


def _means(figures: Mapping[str, Sequence[Figure]]) -> dict[str, float]:
    return {
        name: fmean(figure.value for figure in found) for name, found in figures.items() if found
    }


def _colon(name: str) -> str:
    return name.replace("to", ":")
