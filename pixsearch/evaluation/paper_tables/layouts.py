"""Which rows and columns each table of the paper has, and where our figures for them stand."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pixsearch.evaluation.paper import (
    GROUPS,
    PAPER,
    REFERRING,
    SCORES,
    SEMANTIC,
    SYSTEMS,
    TEXT_QA,
    VQA,
    Percent,
    contradictions,
)

FREE_RUNNING = "free_running"  # the mode of masks that tables show
CRAG_MM = ("crag_mm_single", "crag_mm_single_image", "crag_mm_multi", "crag_mm_miniature")


@dataclass(frozen=True, kw_only=True)
class ColumnLayout:
    """One column.

    Attributes:
        benchmarks: names of those that may fill it; a folder fills a column by its benchmark.
        split: of the benchmark, where each has columns of its own.
        path: where the figure stands in the results of one policy.
        metric: its name among the scores of single samples.
        group: of samples: one of paper.GROUPS.
    """

    name: str
    heading: str = ""
    benchmarks: tuple[str, ...]
    split: str | None = None
    path: tuple[str, ...]
    metric: str
    group: str = "overall"

    @property
    def title(self) -> str:
        return f"{self.heading}: {self.name}" if self.heading else self.name

    @property
    def is_signed(self) -> bool:
        return self.metric == "truthfulness"


@dataclass(frozen=True, kw_only=True)
class RowLayout:
    """One row.

    Attributes:
        key: what `runs=[key:folder]` calls it.
        section: policy (or mode of masks) in the folders.
        is_ours: taken from `runs` too, where the folder need not be named for the row.
    """

    key: str
    label: str
    section: str
    is_ours: bool = True


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One table.

    Attributes:
        paper: row → the paper's figures in percent, one per column.
        notes: (row, column's heading) → what is odd about the paper's figures there.
        reference: the row that the others are compared with.
        compared: columns, by place, whose paired differences are shown.
        decimals: of a percentage in the paper's print.
        remarks: on the table as a whole.
    """

    number: str
    title: str
    columns: tuple[ColumnLayout, ...]
    rows: tuple[RowLayout, ...]
    paper: Mapping[str, tuple[float, ...]]
    reference: str
    compared: tuple[int, ...]
    decimals: int = 1
    notes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


POLICY_LABELS = {
    "no_search": "PixSearch, no search (budget 0)",
    "text_query": "PixSearch, question as text query",
    "whole_image": "PixSearch, whole image",
    "full": "PixSearch, full",
    "no_region": "full, no region",
    "no_text": "full, no text",
    "no_image": "full, no image",
    "only_region": "full, only region",
    "only_text": "full, only text",
    "only_image": "full, only image",
    **{f"budget_{number}": f"budget ≤ {number}" for number in (1, 2, 3, 4)},
}
SYSTEM_ROWS = (
    RowLayout(
        key="llama_no_search",
        label="Llama-3.2-11B, no search",
        section="no_search",
        is_ours=False,
    ),
    RowLayout(
        key="llama_whole_image",
        label="Llama-3.2-11B, whole image",
        section="whole_image",
        is_ours=False,
    ),
    RowLayout(key="pipeline", label="GroundedSAM + LLaVA-13B (pipeline)", section="pipeline"),
    RowLayout(key="llava_13b", label="LLaVA-13B", section="no_search", is_ours=False),
    RowLayout(key="plum_13b", label="PLUM-13B", section="no_search", is_ours=False),
)
MIXTURE_LABELS = {
    "1to9": "PixSearch, 1:9",
    "5to9": "PixSearch, 5:9",
    "7to9": "PixSearch, 7:9",
}


def _policy_rows(*names: str) -> tuple[RowLayout, ...]:
    return tuple(RowLayout(key=name, label=POLICY_LABELS[name], section=name) for name in names)


def _mask_rows(labels: Mapping[str, str]) -> tuple[RowLayout, ...]:
    """Of the mixtures 7:9 is the model that the other tables are about."""
    return tuple(
        RowLayout(key=key, label=label, section=FREE_RUNNING, is_ours=key == "7to9")
        for key, label in labels.items()
    )


def _crag_mm(
    number: str, title: str, rows: tuple[RowLayout, ...], remarks: tuple[str, ...] = ()
) -> Layout:
    """Tables 1, 6 and 7: four scores for all images, egocentric ones and the others."""
    columns = tuple(
        ColumnLayout(
            name=score,
            heading=group.replace("_", "-"),
            benchmarks=CRAG_MM,
            path=(group, score),
            metric=score,
            group=group,
        )
        for group in GROUPS
        for score in SCORES
    )
    printed = {row.key: (SYSTEMS | PAPER)[row.key] for row in rows}
    return Layout(
        number=number,
        title=title,
        columns=columns,
        rows=rows,
        paper={key: sum(percent, ()) for key, percent in printed.items()},
        reference="full" if "full" in printed else rows[-1].key,
        compared=tuple(
            place
            for place, column in enumerate(columns)
            if column.metric == "accuracy" or column.path == ("overall", "truthfulness")
        ),
        notes={
            (key, group.replace("_", "-")): "; ".join(found)
            for key, percent in printed.items()
            for group, found in _odd(percent)
        },
        remarks=remarks,
    )


def _odd(percent: tuple[Percent, Percent, Percent]) -> list[tuple[str, tuple[str, ...]]]:
    found = [(group, contradictions(four)) for group, four in zip(GROUPS, percent, strict=True)]
    return [(group, texts) for group, texts in found if texts]


def _answers(
    number: str,
    title: str,
    benchmarks: Mapping[str, str],
    rows: tuple[RowLayout, ...],
    paper: Mapping[str, tuple[float, ...]],
) -> Layout:
    """Tables 4 and 5: exact match and F1 on several sets."""
    columns = tuple(
        ColumnLayout(
            name=name,
            heading=heading,
            benchmarks=(benchmark,),
            path=("metrics", metric),
            metric=metric,
        )
        for benchmark, heading in benchmarks.items()
        for name, metric in (("EM", "em"), ("F1", "f1"))
    )
    return Layout(
        number=number,
        title=title,
        columns=columns,
        rows=rows,
        paper=paper,
        reference="full",
        compared=tuple(range(len(columns))),
        decimals=2,
    )


def _masks(
    number: str,
    title: str,
    columns: tuple[ColumnLayout, ...],
    labels: Mapping[str, str],
    paper: Mapping[str, tuple[float, ...]],
    *,
    decimals: int = 1,
) -> Layout:
    return Layout(
        number=number,
        title=title,
        columns=columns,
        rows=_mask_rows(labels),
        paper=paper,
        reference="7to9",
        compared=tuple(range(len(columns))),
        decimals=decimals,
    )


def _mask_column(name: str, benchmark: str, metric: str, split: str | None = None) -> ColumnLayout:
    return ColumnLayout(
        name=name,
        benchmarks=(benchmark,),
        split=split,
        path=("metrics", metric),
        metric=metric,
    )


_PLAIN = tuple(row for row in SYSTEM_ROWS if row.key in ("llava_13b", "plum_13b"))

LAYOUTS: dict[str, Layout] = {
    layout.number: layout
    for layout in (
        _crag_mm(
            "1",
            "Table 1: systems on CRAG-MM",
            (*SYSTEM_ROWS, *_policy_rows("no_search", "text_query", "whole_image", "full")),
            (
                "The paper's row of Llama with the whole image equals what CRAG-MM publishes for "
                "its single-turn task 2, which searches the web too.",
                "The paper's text speaks of a 24.3 % gain of full over whole image in egocentric "
                "accuracy; its figures make 23.6 %.",
            ),
        ),
        _masks(
            "2",
            "Table 2: semantic segmentation, mIoU",
            (
                _mask_column("ADE20K", "ade20k", "semseg_miou"),
                _mask_column("COCO-Stuff", "coco_stuff", "semseg_miou"),
            ),
            {"maskformer": "MaskFormer", "plum_13b": "PLUM-13B", **MIXTURE_LABELS},
            SEMANTIC,
            decimals=2,
        ),
        _masks(
            "3",
            "Table 3: referring segmentation, gIoU",
            (
                *(
                    _mask_column(f"RefCOCO {split}", "refcoco", "giou", split)
                    for split in ("val", "testA", "testB")
                ),
                *(
                    _mask_column(f"RefCOCOg {split}(U)", "refcocog", "giou", split)
                    for split in ("val", "test")
                ),
                *(
                    _mask_column(f"RefCOCO+ {split}", "refcoco_plus", "giou", split)
                    for split in ("val", "testA")
                ),
            ),
            {
                "lisa_7b": "LISA-7B",
                "glamm": "GLaMM",
                "1to9": MIXTURE_LABELS["1to9"],
                "7to9": MIXTURE_LABELS["7to9"],
            },
            REFERRING,
        ),
        _answers(
            "4",
            "Table 4: questions without images",
            {
                "hotpotqa": "HotpotQA",
                "nq_open": "NQ",
                "popqa": "PopQA",
                "musique": "MuSiQue",
            },
            (*_PLAIN, *_policy_rows("no_search", "full")),
            TEXT_QA,
        ),
        _answers(
            "5",
            "Table 5: visual question answering",
            {"textvqa": "TextVQA", "infoseek": "InfoSeek", "oven": "OVEN"},
            (*_PLAIN, *_policy_rows("no_search", "text_query", "whole_image", "full")),
            VQA,
        ),
        _crag_mm(
            "6",
            "Table 6: types of queries on CRAG-MM",
            _policy_rows(
                "full",
                "no_region",
                "no_text",
                "no_image",
                "only_region",
                "only_text",
                "only_image",
            ),
        ),
        _crag_mm(
            "7",
            "Table 7: budgets of searches on CRAG-MM",
            _policy_rows("no_search", "budget_1", "budget_2", "budget_3", "budget_4"),
        ),
    )
}
"""Number of a table → its layout."""
