"""results.json of a benchmark of masks: a pure function of what is saved and the annotations."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixsearch.config import MaskMode
from pixsearch.evaluation.mask_benchmark import ComparedSample, MaskBenchmark
from pixsearch.evaluation.mask_records import MaskSample
from pixsearch.evaluation.metrics.bootstrap import RESAMPLES
from pixsearch.evaluation.parted_lines import (
    check_name,
    manifest_of_parts,
    names_of_lines,
    read_parts,
)
from pixsearch.evaluation.protocol_card import FIGURE_HEADING, card, figure_row
from pixsearch.evaluation.sample_scores import ScoredSample, write_scores
from pixsearch.evaluation.score import RESULTS, finite
from pixsearch.line_store import write_json

MASKS = "masks"  # folder of MODE.jsonl and its parts
_NOT_COUNTS = ("id", "image_id", "failed", "phrases", "answers", "masks")

_OF_MODES = {
    MaskMode.free_running: "the model writes the answer; its masks count in their order, one that "
    "is missing as an empty one",
    MaskMode.teacher_forced: "the answer is given word for word, its phrases included; not "
    "comparable with free_running",
}

_WITHOUT_ANSWER = "a missing prediction or a failed sample counts as wrong"
_LEFT_OUT = (
    "; in free running cumulative IoU leaves out phrases without a mask, as Sa2VA's script does "
    "(official_missing)"
)

Lines = Mapping[str, Mapping[str, Any]]


def write_mask_results(
    output_dir: Path, benchmark: MaskBenchmark, *, official_missing: bool = False
) -> dict[str, Any]:
    """Score all modes of a folder; write results.json and scores/MODE.jsonl; return the results.

    Args:
        official_missing: score free running by `benchmark.measure_without_missing`.

    Raises:
        ValueError: there is nothing to score, or lines of another run or benchmark are among it.
    """
    folder = output_dir / MASKS
    modes = [mode for mode in MaskMode if mode.value in names_of_lines(folder)]
    if not modes:
        raise ValueError(f"{folder} has no masks: set score=after")
    paths = [folder / f"{mode.value}.jsonl" for mode in modes]
    run = _one_run(paths, benchmark)
    scored = {mode: _measured(benchmark, mode, official_missing) for mode in modes}
    found = {mode: _compared(path, scored[mode]) for mode, path in zip(modes, paths, strict=True)}
    results = finite(
        {
            "benchmark": benchmark.identity(),
            "protocol": {
                **benchmark.protocol,
                **{mode.value: _OF_MODES[mode] for mode in modes},
                "without_answer": _WITHOUT_ANSWER + _LEFT_OUT * official_missing,
                "intervals": f"95 % percentile bootstrap, {RESAMPLES} draws, clustered by image, "
                "seed 0",
                "run": run,
            },
            "modes": {mode.value: _of_mode(scored[mode], *each) for mode, each in found.items()},
        }
    )
    for mode, (items, _) in found.items():
        write_scores(output_dir, mode.value, _sample_scores(scored[mode], items))
    write_json(output_dir / RESULTS, results)
    return results


def mask_card(results: Mapping[str, Any]) -> str:
    """Results as text for the terminal: all modes' figures, and the protocol."""
    modes = results["modes"]
    rows = [["mode", *FIGURE_HEADING]]
    for name, mode in modes.items():
        rows += [figure_row(name, metric, each) for metric, each in mode["metrics"].items()]
    counts = [
        f"{name}: {mode['n']} samples, {mode['num_missing_predictions']} without a prediction, "
        f"{mode['num_failed']} failed"
        for name, mode in modes.items()
    ]
    return card(results, rows, counts)


def _one_run(paths: Sequence[Path], benchmark: MaskBenchmark) -> dict[str, Any]:
    manifests = [manifest_of_parts(path) for path in paths]
    run = manifests[0]["run"]
    for path, manifest in zip(paths, manifests, strict=True):
        check_name(path, manifest["mode"])
        if manifest["run"] != run:
            raise ValueError(f"{path} is of another run than {paths[0]}: move one of them away")
    if run["benchmark"] != benchmark.identity():
        raise ValueError(
            f"{paths[0].parent} holds masks of {_short(run['benchmark'])}, not of "
            f"{_short(benchmark.identity())}: evaluate again, or restore that benchmark"
        )
    return run


def _short(identity: Mapping[str, Any]) -> str:
    return (
        f"{identity['name']} v{identity['version']} {identity['split']} "
        f"({identity['num_samples']} samples, {identity['asked']}, {identity['fingerprint'][:12]})"
    )


def _measured(benchmark: MaskBenchmark, mode: MaskMode, official_missing: bool) -> MaskBenchmark:
    """The benchmark with the measure that a mode is scored by."""
    if not official_missing or mode is not MaskMode.free_running:
        return benchmark
    assert benchmark.measure_without_missing is not None
    return replace(benchmark, measure=benchmark.measure_without_missing)


def _compared(path: Path, benchmark: MaskBenchmark) -> tuple[list[ComparedSample], Lines]:
    """All samples in the benchmark's order, and the lines by id."""
    lines = {line["id"]: line for line in read_parts(path, id_field="id")}
    strange = [id for id in lines if id not in benchmark.by_id]
    if strange:
        raise ValueError(
            f"{path}: {strange[0]!r} is no sample of {benchmark.name}: masks of another benchmark "
            "are mixed in"
        )
    items = [_item(sample, lines.get(sample.id), benchmark) for sample in benchmark.samples]
    return items, lines


def _item(
    sample: MaskSample, line: Mapping[str, Any] | None, benchmark: MaskBenchmark
) -> ComparedSample:
    if line is not None and line["failed"] is None:
        counts = {name: value for name, value in line.items() if name not in _NOT_COUNTS}
        return ComparedSample(sample=sample, comparison=counts, is_answered=True)
    try:
        nothing = benchmark.measure.compare(sample, [])
    except (ValueError, OSError):  # of a failed sample the target may be what cannot be read
        nothing = None
    return ComparedSample(sample=sample, comparison=nothing, is_answered=False)


def _of_mode(
    benchmark: MaskBenchmark, items: Sequence[ComparedSample], lines: Lines
) -> dict[str, Any]:
    return {
        "n": len(items),
        "num_missing_predictions": sum(item.sample.id not in lines for item in items),
        "num_failed": sum(line["failed"] is not None for line in lines.values()),
        "metrics": _figures(benchmark, items),
        "totals": benchmark.measure.totals(items),
        "slices": _slices(benchmark, items),
    }


def _figures(benchmark: MaskBenchmark, items: Sequence[ComparedSample]) -> dict[str, Any]:
    return {name: each.to_json() for name, each in benchmark.measure.figures(items).items()}


def _slices(benchmark: MaskBenchmark, items: Sequence[ComparedSample]) -> dict[str, Any]:
    """label → value → figures over the samples that have it."""
    groups: dict[str, dict[str, list[ComparedSample]]] = {}
    for item in items:
        for label, value in item.sample.slices.items():
            groups.setdefault(label, {}).setdefault(value, []).append(item)
    return {
        label: {value: _figures(benchmark, group) for value, group in values.items()}
        for label, values in groups.items()
    }


def _sample_scores(benchmark: MaskBenchmark, items: Sequence[ComparedSample]) -> list[ScoredSample]:
    return [
        ScoredSample(
            id=item.sample.id,
            cluster=item.sample.image_id,
            slices=dict(item.sample.slices),
            scores=benchmark.measure.of_sample(item),
        )
        for item in items
    ]
