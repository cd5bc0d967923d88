"""The report: one HTML file that opens from disk, with nothing to be fetched."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pixsearch.config import AnswerSpan, RegionCrop, ReportOptions, RetrievalOptions
from pixsearch.evaluation.benchmark import Benchmark
from pixsearch.evaluation.benchmarks import open_benchmark
from pixsearch.evaluation.claims import Claim, claims
from pixsearch.evaluation.paper import GROUPS, SCORES, paper_score
from pixsearch.evaluation.paper_tables.figure_4 import search_figure
from pixsearch.evaluation.paper_tables.figures import budget_figure, has_budgets, loss_figure
from pixsearch.evaluation.paper_tables.folders import ResultFolder
from pixsearch.evaluation.paper_tables.pictures import as_png
from pixsearch.evaluation.paper_tables.rendering import html_table
from pixsearch.evaluation.paper_tables.searching import search_behaviour
from pixsearch.evaluation.paper_tables.slices import slices_table
from pixsearch.evaluation.report_trajectories import RIVALS, TrajectoryView
from pixsearch.evaluation.score import read_saved, write_results
from pixsearch.evaluation.tables import VERDICTS, claims_table, is_pixsearch, percent, policy_table
from pixsearch.line_store import one_writer
from pixsearch.markup import drawing, escape, page, table, text
from pixsearch.retrieval.info import REGION_SETTINGS
from pixsearch.retrieval.knowledge_base import KnowledgeBase

logger = logging.getLogger(__name__)

REPORT = "report/index.html"
TRAJECTORIES, COMPLETE_ONES = 36, 24  # how many are shown, with masks and what was searched
SLICED = ("no_search", "text_query", "whole_image", "full")  # policies, of those that are there
STYLE = """
.paper { color: #7b8494 } .gold { background: #d9f2e2 } .missing { color: #8a6100 }
.correct, .abstained, .met { color: #10713c } .hallucination, .guessed, .unmet { color: #b3261e }
.crop { height: 72px; float: left; margin: 0 .7rem .3rem 0 }
.query { background: #f4f6f9; border-radius: 5px; padding: .5rem .7rem; margin: .5rem 0;
         overflow: hidden }
"""


def report(options: ReportOptions) -> Path:
    """Score what the output folder holds and write its report.

    Raises:
        ValueError: the benchmark is not the miniature's, or what is saved does not fit.
    """
    benchmark, folder = open_benchmark(options.benchmark), Path(options.output_dir)
    if not isinstance(benchmark, Benchmark):
        raise ValueError(
            f"benchmark={benchmark.name}: the report is the miniature's; scripts/make_table.py "
            f"composes tables of other benchmarks, table=slices runs=[{folder}]"
        )
    with one_writer(folder):
        return write_report(
            folder,
            write_results(folder, benchmark, span=options.answer),
            benchmark,
            knowledge_base=Path(options.retrieval.knowledge_base),
            training={stage: Path(run) for stage, run in options.training.items()},
        )


def write_report(
    output_dir: Path,
    results: Mapping[str, Any],
    benchmark: Benchmark,
    *,
    knowledge_base: Path,
    training: Mapping[str, Path],
) -> Path:
    """Write `report/index.html` beside results.json, log the tables, and return its path.

    Args:
        knowledge_base: folder of the documents that were searched.
        training: name of each stage → the output folder of its run, for the loss curves.
    """
    saved = read_saved(output_dir, benchmark)
    shown, settings = saved.shown, saved.run["retrieval"]
    view = TrajectoryView(
        KnowledgeBase(knowledge_base),
        crop=RegionCrop(saved.options[shown]["region_crop"]),
        retrieval=RetrievalOptions(**{name: settings[name] for name in REGION_SETTINGS}),
        name=shown,
        rivals={name: saved.policies[name] for name in RIVALS if name in saved.policies},
        span=AnswerSpan(results["protocol"]["answer_span"]),
    )
    chosen = view.choose(
        benchmark.samples, saved.policies[shown], most=TRAJECTORIES, complete=COMPLETE_ONES
    )
    found = claims(results)
    body = [
        _summary(results),
        text("Policies", tag="h2"),
        policy_section(results),
        text("Claims", tag="h2"),
        claims_section(found),
        text("How it searched", tag="h2"),
        search_section(results["policies"][shown]),
        *pictures_section(ResultFolder(path=output_dir, results=results), shown),
        text("Slices", tag="h2"),
        slices_section(ResultFolder(path=output_dir, results=results), shown),
        text("Masks", tag="h2"),
        masks_section(results),
        text("Training", tag="h2"),
        training_section(training),
        text(f"{len(chosen)} trajectories of policy {shown}", tag="h2"),
        *(view.show(sample, saved.policies[shown][sample.id]) for sample in chosen),
        text("Protocol", tag="h2"),
        text(json.dumps(results["protocol"], indent=2), "note", "pre"),
    ]
    path = output_dir / REPORT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(f"PixSearch: {benchmark.name}", body, style=STYLE), encoding="utf-8")
    logger.info("%s\n%s\n%s", path, policy_table(results), claims_table(found))
    return path


def policy_section(results: Mapping[str, Any]) -> str:
    """The policies' scores; the paper's figure below each of ours, if they are a PixSearch's."""
    beside_paper = is_pixsearch(results)
    heading = ["policy", *(f"{score}, {group}" for group in GROUPS for score in SCORES), "n"]
    rows = [
        [
            escape(name),
            *(
                _beside(name, scores, group, score, beside_paper=beside_paper)
                for group in GROUPS
                for score in SCORES
            ),
            str(scores["overall"]["n"]),
        ]
        for name, scores in results["policies"].items()
    ]
    note = "Percent; 95 % interval when pointed at"
    note += "; the paper's figure on CRAG-MM in grey." if beside_paper else "."
    return text(note, "note", "p") + table(heading, rows)


def claims_section(rows: Sequence[Claim]) -> str:
    classes = {True: "met", False: "unmet", None: "note"}
    return table(
        ["claim", "value", "asked", ""],
        [
            [
                escape(claim.name),
                _figure(claim.value),
                f"{claim.relation.value} {_figure(claim.threshold)}",
                text(VERDICTS[claim.met], classes[claim.met]),
            ]
            for claim in rows
        ],
    )


def search_section(scores: Mapping[str, Any]) -> str:
    """Calls, recall and the confusion of query types of one policy."""
    calls = scores["calls_per_sample"]
    types = list(calls["overall"])
    confusion = scores["query_confusion"]
    predicted = sorted({name for row in confusion.values() for name in row})
    recall = scores["recall_at_k"]["overall"]
    return "".join(
        [
            text("Searches per sample", tag="h3"),
            table(
                ["", *types],
                [
                    [escape(kind), *(f"{row[name]:.2f}" for name in types)]
                    for kind, row in calls.items()
                ],
            ),
            text("Query types: gold (row) against asked (column), by place", tag="h3"),
            table(
                ["gold", *predicted],
                [
                    [escape(name), *(str(row.get(column, 0)) for column in predicted)]
                    for name, row in confusion.items()
                ],
            ),
            text("Recall@5 of the gold document", tag="h3"),
            table(
                ["query", "recall", "n"],
                [
                    [escape(name), percent(row["recall"]), str(row["n"])]
                    for name, row in recall.items()
                ],
            ),
        ]
    )


def masks_section(results: Mapping[str, Any]) -> str:
    """gIoU and cIoU, free-running and, apart, teacher-forced."""
    found = results["segmentation"]
    if found is None:
        return text("Not measured: a plain model has no masks.", "note", "p")
    rows = {
        "free-running": found,
        **{f"free-running, {size} objects": row for size, row in found["by_size"].items()},
        "free-running, beside another of the same silhouette": found["lookalikes"],
        "teacher-forced (not comparable)": results["teacher_forced_segmentation"],
    }
    return table(
        ["masks", "gIoU", "cIoU", "phrases"],
        [
            [escape(name), percent(row["giou"]), percent(row["ciou"]), str(row["n"])]
            for name, row in rows.items()
        ],
    )


def pictures_section(folder: ResultFolder, shown: str) -> Iterator[str]:
    """How often and by what the shown policy searched, and accuracy by budget if there is any."""
    if folder.query_types(shown):
        behaviour = search_behaviour([folder], shown)
        yield drawing(as_png(search_figure(behaviour)), "searches by kind of image")
    else:
        yield text(f"{shown} has no answer whose searches could be drawn.", "note", "p")
    if has_budgets(folder):
        yield drawing(as_png(budget_figure([folder])), "accuracy by budget")


def slices_section(folder: ResultFolder, shown: str) -> str:
    """Accuracy by what is annotated of the questions, of the main policies."""
    main = [name for name in SLICED if name in folder.sections]
    return html_table(slices_table(folder, policies=main or [shown], metric=None))


def training_section(training: Mapping[str, Path]) -> str:
    """The losses of each stage over its steps, with those on held-out examples."""
    runs = {stage: run for stage, run in training.items() if (run / "metrics.jsonl").exists()}
    lacking = [
        text(f"{stage}: no metrics in {run}", "note", "p")
        for stage, run in training.items()
        if stage not in runs
    ]
    figure = drawing(as_png(loss_figure(runs)), f"losses of {', '.join(runs)}") if runs else ""
    return "".join([figure, *lacking])


def _summary(results: Mapping[str, Any]) -> str:
    seconds = results["runtime_seconds"]
    minutes = "not recorded" if seconds is None else f"{seconds / 60:.1f} minutes"
    return text(f"Seed {results['seed']}; whole run: {minutes}.", "note", "p")


def _beside(
    policy: str, scores: Mapping[str, Any], group: str, score: str, *, beside_paper: bool
) -> str:
    """Our figure, its interval as a hint, and the paper's."""
    signed = score == "truthfulness"
    interval = scores[group].get(f"{score}_interval")
    hint = " to ".join(percent(bound, signed=signed) for bound in interval) if interval else ""
    ours = f'<span title="{escape(hint)}">{percent(scores[group][score], signed=signed)}</span>'
    theirs = paper_score(policy, group, score) if beside_paper else None
    return ours if theirs is None else f"{ours}<br>{text(percent(theirs, signed=signed), 'paper')}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
