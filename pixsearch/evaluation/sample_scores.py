"""Scores of single answers, and means over them: OUTPUT/scores/POLICY.jsonl.

    {"id", "cluster", "slices": {label: value}, "scores": {metric: number or null}}

A line per sample of the benchmark, in its order. null is out of the metric's denominator.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.metrics.bootstrap import mean_intervals
from pixsearch.evaluation.question_benchmark import QuestionBenchmark
from pixsearch.evaluation.verdicts import JudgeVerdict
from pixsearch.line_store import read_lines

SCORES = "scores"  # folder of POLICY.jsonl

POINTS = {
    "accuracy": {JudgeVerdict.correct: 1.0},
    "missing": {JudgeVerdict.missing: 1.0},
    "hallucination": {JudgeVerdict.hallucination: 1.0},
    "unscored": {JudgeVerdict.unscored: 1.0},
    "truthfulness": {JudgeVerdict.correct: 1.0, JudgeVerdict.hallucination: -1.0},
}
"""What a verdict is worth to each metric of a judged benchmark, 0 where it is not named."""


@dataclass(frozen=True, kw_only=True)
class ScoredSample:
    """
    Attributes:
        cluster: what is drawn together by a bootstrap.
        slices: the question's official classes.
    """

    id: str
    cluster: str
    slices: dict[str, str]
    scores: dict[str, float | None]


def metric_scores(
    benchmark: QuestionBenchmark, answers: Mapping[str, str], *, official_missing: bool
) -> list[ScoredSample]:
    """The metrics of each answer.

    Args:
        answers: by sample id; a sample without one scores 0.
        official_missing: it scores nothing instead.
    """
    return [
        _sample(
            benchmark,
            question,
            {
                name: _score(metric(question, answers.get(question.id, "")), question.id in answers)
                for name, metric in benchmark.metrics.items()
            },
            left_out=official_missing and question.id not in answers,
        )
        for question in benchmark.questions
    ]


def verdict_scores(
    benchmark: QuestionBenchmark, verdicts: Mapping[int, JudgeVerdict]
) -> list[ScoredSample]:
    """What the verdicts on a judged benchmark's answers are worth.

    Args:
        verdicts: as they are counted, by the place of the question; one without scores nothing.
    """
    return [
        _sample(
            benchmark,
            question,
            {name: points.get(verdicts.get(place), 0.0) for name, points in POINTS.items()},
            left_out=place not in verdicts,
        )
        for place, question in enumerate(benchmark.questions)
    ]


def mean_figures(samples: Sequence[ScoredSample]) -> dict[str, dict[str, Any]]:
    """Mean, 95 % interval and denominator of each metric; None where nothing is scored."""
    names = list(samples[0].scores) if samples else []
    if not names:
        return {}
    series = [[sample.scores[name] for sample in samples] for name in names]
    intervals = mean_intervals(series, [sample.cluster for sample in samples])
    figures = {}
    for name, values, interval in zip(names, series, intervals, strict=True):
        num_left_out = values.count(None)
        figures[name] = {
            "value": interval and interval.estimate,
            "interval": interval and [interval.low, interval.high],
            "n": len(values) - num_left_out,
            "num_left_out": num_left_out,
        }
    return figures


def slice_figures(samples: Sequence[ScoredSample]) -> dict[str, dict[str, Any]]:
    """Label → value → the figures of the samples that have it."""
    slices: dict[str, dict[str, list[ScoredSample]]] = {}
    for sample in samples:
        for label, value in sample.slices.items():
            slices.setdefault(label, {}).setdefault(value, []).append(sample)
    return {
        label: {value: mean_figures(found) for value, found in sorted(by_value.items())}
        for label, by_value in slices.items()
    }


def write_scores(output_dir: Path, policy: str, samples: Sequence[ScoredSample]) -> None:
    """Write a policy's file; it is never seen half written."""
    path = output_dir / SCORES / f"{policy}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".partial")
    aside.write_text("".join(f"{json.dumps(asdict(sample))}\n" for sample in samples))
    aside.replace(path)


def read_scores(output_dir: Path, policy: str) -> dict[str, ScoredSample]:
    """A policy's file by sample id, in its order; empty where there is none.

    Raises:
        ValueError: a line is broken or an id occurs twice; names the file.
    """
    path = output_dir / SCORES / f"{policy}.jsonl"
    return {line["id"]: _read(line, path) for line in read_lines(path, id_field="id")}


def _read(line: Mapping[str, Any], path: Path) -> ScoredSample:
    try:
        return ScoredSample(
            id=line["id"],
            cluster=line["cluster"],
            slices=line["slices"],
            scores={
                name: None if score is None else float(score)
                for name, score in line["scores"].items()
            },
        )
    except KeyError as error:
        raise ValueError(f"{path}: {line['id']!r} has no {error}; score again") from error


def _score(score: float | None, is_answered: bool) -> float | None:
    """A missing answer is wrong, whatever a metric makes of no words at all."""
    return score if is_answered or score is None else 0.0


def _sample(
    benchmark: QuestionBenchmark,
    question: AnnotatedQuestion,
    scores: dict[str, float | None],
    *,
    left_out: bool,
) -> ScoredSample:
    return ScoredSample(
        id=question.id,
        cluster=benchmark.cluster(question),
        slices=dict(question.labels),
        scores=dict.fromkeys(scores) if left_out else scores,
    )
