"""Scores of single samples: scores/POLICY.jsonl, which paired tests and slices are made from."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pixsearch.line_store import read_lines

SCORES_FOLDER = "scores"


@dataclass(frozen=True, kw_only=True)
class SampleScores:
    """One sample under one policy.

    Attributes:
        cluster: what a bootstrap draws together: an image or a session.
        slices: label → value, e.g. domain → food.
        scores: metric → score; None where the metric leaves the sample out.
    """

    id: str
    cluster: str
    slices: Mapping[str, str]
    scores: Mapping[str, float | None]


def scores_path(folder: Path, policy: str) -> Path:
    return folder / SCORES_FOLDER / f"{policy}.jsonl"


def write_scores(folder: Path, policy: str, samples: Iterable[SampleScores]) -> None:
    """Write them anew, in the benchmark's order; the file is never seen half written."""
    path = scores_path(folder, policy)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".partial")
    lines = (f"{json.dumps(asdict(sample), allow_nan=False)}\n" for sample in samples)
    aside.write_text("".join(lines), encoding="utf-8")
    aside.replace(path)


def read_scores(folder: Path, policy: str) -> dict[str, SampleScores]:
    """By id, in the file's order; empty where there is no file.

    Raises:
        ValueError: a line is broken or an id occurs twice; names file and line.
    """
    path = scores_path(folder, policy)
    found = {}
    for line in read_lines(path, id_field="id"):
        try:
            fields = {name: line[name] for name in ("id", "cluster", "slices", "scores")}
        except KeyError as error:
            raise ValueError(f"{path}: {line['id']!r} has no {error}; score again") from error
        fields["scores"] = {
            name: None if score is None else float(score)
            for name, score in fields["scores"].items()
        }
        found[line["id"]] = SampleScores(**fields)
    return found
