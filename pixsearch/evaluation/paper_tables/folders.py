"""What an evaluation left behind, as tables read it: results.json, scores/ and predictions/."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixsearch.evaluation.metrics.bootstrap import Interval
from pixsearch.evaluation.parted_lines import part_paths, read_parts
from pixsearch.evaluation.sample_scores import ScoredSample, read_scores
from pixsearch.evaluation.saved_answers import PREDICTIONS

EGOCENTRIC, NON_EGOCENTRIC, NO_IMAGE = "egocentric", "non_egocentric", "none"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of results.json."""

    value: float
    interval: tuple[float, float] | None
    n: int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ResultFolder:
    """A folder with a results.json, of whichever benchmark.

    Attributes:
        results: as `pixsearch.evaluation.score` or its kin of other benchmarks wrote them.
    """

    path: Path
    results: Mapping[str, Any]
    _scores: dict[str, dict[str, ScoredSample]] = field(default_factory=dict)  # read once

    @classmethod
    def open(cls, path: str | Path) -> "ResultFolder":
        """
        Raises:
            ValueError: there is no results.json, or it is none of an evaluation.
        """
        file = Path(path) / "results.json"
        try:
            results = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ValueError(f"{path}: no results.json; evaluate first") from error
        except json.JSONDecodeError as error:
            raise ValueError(f"{file} is broken ({error}): use score=only") from error
        found = cls(path=Path(path), results=results)
        if not found.sections or "name" not in found.benchmark:
            raise ValueError(f"{file}: no results of an evaluation that a table could read")
        return found

    @property
    def protocol(self) -> Mapping[str, Any]:
        return self.results.get("protocol", {})

    @property
    def run(self) -> Mapping[str, Any]:
        """All that decided the predictions, as far as the results say."""
        return self.results.get("run") or self.protocol.get("run", {})

    @property
    def benchmark(self) -> Mapping[str, Any]:
        """Its identity: name, version, split, fingerprint."""
        return self.results.get("benchmark") or self.run.get("benchmark", {})

    @property
    def identity(self) -> str:
        """What must agree between answers that are compared sample by sample."""
        fields = ("name", "version", "split", "fingerprint", "num_samples")
        return " ".join(str(self.benchmark[name]) for name in fields if name in self.benchmark)

    @property
    def is_plain(self) -> bool:
        """Whether a plain model answered, which is no PixSearch."""
        return self.run.get("has_masks") is False

    @property
    def sections(self) -> Mapping[str, Mapping[str, Any]]:
        """Results by policy, or by mode where masks were scored."""
        return self.results.get("policies") or self.results.get("modes") or {}

    @property
    def has_modes(self) -> bool:
        """Whether these are results of masks."""
        return "modes" in self.results

    def figure(self, section: str, path: Sequence[str]) -> Figure | None:
        """The figure at `path` within a section; None if it is not there.

        It stands alone beside `NAME_interval` and `n`, or is an object with value, interval and n.
        """
        above: Any = self.sections.get(section, {})
        for name in path[:-1]:
            above = above.get(name) if isinstance(above, Mapping) else None
        found = above.get(path[-1]) if isinstance(above, Mapping) else None
        if isinstance(found, Mapping):
            value, interval, n = (found.get(name) for name in ("value", "interval", "n"))
        else:
            value = found
            interval, n = (above or {}).get(f"{path[-1]}_interval"), (above or {}).get("n")
        if value is None:
            return None
        return Figure(value=value, interval=tuple(interval) if interval else None, n=n)

    def scores(self, section: str) -> dict[str, ScoredSample]:
        """Of each sample by id; empty where nobody wrote them."""
        if section not in self._scores:
            self._scores[section] = read_scores(self.path, section)
        return self._scores[section]

    def query_types(self, policy: str) -> dict[str, tuple[str, ...]]:
        """Types of the searches of each answer by sample id, in order; failed samples have none.

        Raises:
            ValueError: there are no predictions.
        """
        path = self.path / PREDICTIONS / f"{policy}.jsonl"
        if not part_paths(path):
            raise ValueError(f"{path}: no predictions of {policy}; evaluate that policy")
        lines = read_parts(path, id_field="interaction_id")
        return {
            line["interaction_id"]: tuple(query["type"] for query in line["queries"])
            for line in lines
            if line.get("failed") is None
        }


def scene_kind(sample: ScoredSample) -> str:
    """Of CRAG-MM's images and of the miniature's: `egocentric`, `non_egocentric` or `none`."""
    labelled = sample.slices.get("scene_kind")
    if labelled is not None:
        return labelled
    return EGOCENTRIC if sample.slices.get("is_egocentric") == "true" else NON_EGOCENTRIC


def interval_of(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high
