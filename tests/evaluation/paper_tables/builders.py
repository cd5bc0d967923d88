"""Result folders as evaluations leave them, small enough to work out in one's head."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixsearch.config import PolicyOptions, to_dict
from pixsearch.evaluation.metrics.bootstrap import mean_interval
from pixsearch.evaluation.paper_tables.folders import ResultFolder
from pixsearch.evaluation.sample_scores import ScoredSample, write_scores

SCORES = {
    "c": {"accuracy": 1.0, "missing": 0.0, "hallucination": 0.0, "truthfulness": 1.0},
    "m": {"accuracy": 0.0, "missing": 1.0, "hallucination": 0.0, "truthfulness": 0.0},
    "h": {"accuracy": 0.0, "missing": 0.0, "hallucination": 1.0, "truthfulness": -1.0},
}


def judged_samples(verdicts: str, *, prefix: str = "q") -> list[ScoredSample]:
    """A sample per letter (correct, missing, hallucination), egocentric and not in turn."""
    return [
        ScoredSample(
            id=f"{prefix}{place}",
            cluster=f"image{place // 2}",
            slices={
                "domain": ("food", "book", "vehicle")[place % 3],
                "is_egocentric": ("true", "false")[place % 2],
            },
            scores=SCORES[letter],
        )
        for place, letter in enumerate(verdicts)
    ]


def crag_mm(
    folder: Path,
    policies: Mapping[str, str],
    *,
    name: str = "crag_mm_single",
    fingerprint: str = "f" * 64,
    searches: Mapping[str, Sequence[Sequence[str]]] | None = None,
    has_masks: bool = True,
) -> ResultFolder:
    """CRAG-MM: name of a policy → a verdict's letter per sample."""
    results = judged_results(policies, fingerprint)
    results["benchmark"]["name"] = name
    results["run"] = {"checkpoint": "c" * 64, "has_masks": has_masks}
    write(folder, results)
    for name, letters in policies.items():
        write_scores(folder, name, judged_samples(letters))
    for name, types in (searches or {}).items():
        predictions(folder, name, types)
    return ResultFolder.open(folder)


def judged_results(policies: Mapping[str, str], fingerprint: str) -> dict[str, Any]:
    return {
        "benchmark": {
            "name": "crag_mm_single",
            "version": 1,
            "split": "public_test",
            "fingerprint": fingerprint,
            "num_samples": len(next(iter(policies.values()))),
        },
        "protocol": {"judge": "rules", "k": 5},
        "policies": {
            name: {
                "options": to_dict(PolicyOptions(name=name)),
                "n": len(letters),
                "num_missing_predictions": 0,
                "num_failed": 2,
                "searches": {"num_failed_searches": 1},
                "overall": {**_group(judged_samples(letters)), "unscored": 0.25},
                "egocentric": _group(judged_samples(letters)[::2]),
                "non_egocentric": _group(judged_samples(letters)[1::2]),
            }
            for name, letters in policies.items()
        },
    }


def _group(samples: Sequence[ScoredSample]) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(samples)}
    for name in SCORES["c"]:
        interval = mean_interval(
            [sample.scores[name] for sample in samples], [sample.cluster for sample in samples]
        )
        found[name] = interval.estimate
        if name in ("accuracy", "truthfulness"):
            found[f"{name}_interval"] = [interval.low, interval.high]
    return found


def answers(
    folder: Path, benchmark: str, policies: Mapping[str, Sequence[int | float | None]]
) -> ResultFolder:
    """A set of questions with exact match and F1: name of a policy → a score per sample."""
    results: dict[str, Any] = {
        "benchmark": {"name": benchmark, "version": 1, "split": "val", "fingerprint": benchmark},
        "policies": {},
    }
    for name, values in policies.items():
        kept = [value for value in values if value is not None]
        figure = {"value": sum(kept) / len(kept), "interval": [0.1, 0.9], "n": len(kept)}
        results["policies"][name] = {"metrics": {"em": figure, "f1": figure}}
        scores = [None if value is None else float(value) for value in values]
        write_scores(
            folder,
            name,
            [
                ScoredSample(
                    id=f"q{place}",
                    cluster=f"q{place}",
                    slices={},
                    scores=dict.fromkeys(("em", "f1"), None if value is None else float(value)),
                )
                for place, value in enumerate(scores)
            ],
        )
    write(folder, results)
    return ResultFolder.open(folder)


def masks(folder: Path, benchmark: str, split: str, metric: str, value: float) -> ResultFolder:
    """A benchmark of masks, scored in both modes."""
    figure = {"value": value, "interval": [value - 0.1, value + 0.1], "n": 4}
    results = {
        "benchmark": {"name": benchmark, "version": 1, "split": split, "fingerprint": "f"},
        "modes": {
            "free_running": {"metrics": {metric: figure}, "n": 4},
            "teacher_forced": {"metrics": {metric: {**figure, "value": 0.99}}, "n": 4},
        },
    }
    write(folder, results)
    return ResultFolder.open(folder)


def miniature(
    folder: Path,
    *,
    giou: float,
    policy: str = "full",
    searches: Sequence[Sequence[str]] = (),
    verdicts: str = "ccmh",
) -> ResultFolder:
    """What the miniature's results.json has of masks and searches."""
    results = judged_results({policy: verdicts}, "f" * 64)
    results["protocol"] = {"run": {"benchmark": {**results.pop("benchmark"), "name": "miniature"}}}
    scores = {"giou": giou, "giou_interval": [giou - 0.05, giou + 0.05], "n": 20}
    results["segmentation"] = scores
    results["teacher_forced_segmentation"] = {"giou": giou + 0.02, "n": 20}
    calls = {"text": 0.5, "image": 0.0, "region": 1.0, "all": 1.5}
    results["policies"][policy]["calls_per_sample"] = {
        kind: calls for kind in ("overall", "egocentric", "non_egocentric")
    }
    write(folder, results)
    write_scores(folder, policy, judged_samples(verdicts))
    predictions(folder, policy, searches)
    return ResultFolder.open(folder)


def predictions(folder: Path, policy: str, types: Sequence[Sequence[str]]) -> None:
    """Only what tables read of them: a list of types of queries per sample."""
    path = folder / "predictions" / f"{policy}.jsonl"
    path.parent.mkdir(exist_ok=True)
    lines = [
        {"interaction_id": f"q{place}", "queries": [{"type": type} for type in each]}
        for place, each in enumerate(types)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write(folder: Path, results: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results))
