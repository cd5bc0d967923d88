"""A benchmark of masks: samples, and how masks are compared with theirs and scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.templates import ANSWERS, QUESTIONS, SENTENCE_ANSWERS, SENTENCE_QUESTIONS
from pixsearch.evaluation.mask_records import MaskAnswer, MaskSample
from pixsearch.evaluation.metrics.bootstrap import Interval
from pixsearch.line_store import digest

STAGE_1_WORDING = digest([QUESTIONS, ANSWERS, SENTENCE_QUESTIONS, SENTENCE_ANSWERS])[:12]
"""Names the words of stage 1's training, which mask benchmarks ask in."""

Comparison = Mapping[str, Any]
"""Plain numbers of one sample, made by `Measure.compare` and understood by it alone."""


@dataclass(frozen=True, kw_only=True)
class MaskFigure:
    """One figure over samples.

    Attributes:
        interval: None where nothing was counted.
        n: what the figure is a mean over, or how many terms its sums have.
        num_left_out: those that could not be counted, because their target cannot be read or
            their mask is missing (`official_missing`).
    """

    interval: Interval | None
    n: int
    num_left_out: int = 0

    def to_json(self) -> dict[str, Any]:
        found = self.interval
        return {
            "value": found and found.estimate,
            "interval": found and [found.low, found.high],
            "n": self.n,
            "num_left_out": self.num_left_out,
        }


@dataclass(frozen=True, kw_only=True)
class ComparedSample:
    """A sample with what its masks were compared to.

    Attributes:
        comparison: None where its target cannot be read.
        is_answered: else there is no line or a failed one, and `comparison` is that of no mask.
    """

    sample: MaskSample
    comparison: Comparison | None
    is_answered: bool


@runtime_checkable
class Measure(Protocol):
    """How the masks of a sample are compared with its target, and what is scored.

    Attributes:
        needs_logits: answers must hold logits in place of masks.
    """

    @property
    def needs_logits(self) -> bool: ...

    def compare(self, sample: MaskSample, answers: Sequence[MaskAnswer]) -> dict[str, Any]:
        """Plain numbers that are saved.

        Args:
            answers: one for each of the sample's questions; none at all for a sample without an
                answer, whose masks are then empty.

        Raises:
            ValueError: the target cannot be read, or is of another size than the masks.
        """
        ...

    def saved_masks(self, sample: MaskSample, answers: Sequence[MaskAnswer]) -> Any:
        """The masks as plain values, as they were compared."""
        ...

    def figures(self, items: Sequence[ComparedSample]) -> dict[str, MaskFigure]:
        """The benchmark's scores over some samples."""
        ...

    def totals(self, items: Sequence[ComparedSample]) -> dict[str, Any]:
        """What is counted besides, as plain values."""
        ...

    def of_sample(self, item: ComparedSample) -> dict[str, float | None]:
        """Scores of one sample, by the name of the figure that they belong to."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskBenchmark:
    """A benchmark read from disk.

    Attributes:
        version: raised whenever its scores could change while its files do not.
        fingerprint: SHA-256 of its annotations.
        protocol: what a reader must know of how the scores come about, printed with them.
        measure_without_missing: of free running under `official_missing`, as a script that leaves
            out what has no mask; None if there is no such script.
        asked: all else that decides questions and comparisons, e.g. which classes there are.
    """

    name: str
    version: int
    split: str
    fingerprint: str
    samples: Sequence[MaskSample]
    measure: Measure
    protocol: Mapping[str, str]
    measure_without_missing: Measure | None = None
    asked: Mapping[str, str | int | bool] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> dict[str, MaskSample]:
        return {sample.id: sample for sample in self.samples}

    def identity(self) -> dict[str, Any]:
        """What must agree between saved masks and the benchmark that they are scored on."""
        return {
            "name": self.name,
            "version": self.version,
            "split": self.split,
            "fingerprint": self.fingerprint,
            "num_samples": len(self.samples),
            "prompt": f"stage 1 {STAGE_1_WORDING}",
            "asked": dict(self.asked),
        }


def refuse_lisa_compat(options: BenchmarkOptions) -> None:
    """See that LISA's rule for polygons is not asked for where no single object is drawn in any.

    Raises:
        ValueError: it is.
    """
    if options.lisa_compat:
        raise ValueError(
            f"benchmark.lisa_compat=true: a rule for RefCOCO's polygons; {options.name} has none"
        )
