"""What a benchmark is: questions with their gold, and scenes to segment."""

from dataclasses import dataclass, field
from functools import cached_property

from pixsearch.evaluation.gold import Sample, SegmentationScene

QuestionKind = tuple[str, str]  # question type, answer kind


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark, read from disk.

    Attributes:
        version: raised whenever its scores could change while its files do not.
        fingerprint: SHA-256 of its files.
        scenes: empty where there is nothing to segment.
        seed: of the world that it is drawn from, if it is drawn; control experiments draw by it.
        majority_answers: the most frequent training answer of each kind of question; None where
            nobody has counted them.
    """

    name: str
    version: int
    fingerprint: str
    samples: tuple[Sample, ...]
    scenes: tuple[SegmentationScene, ...] = ()
    seed: int = 0
    majority_answers: dict[QuestionKind, str] | None = field(default=None)

    @cached_property
    def by_id(self) -> dict[str, Sample]:
        return {sample.id: sample for sample in self.samples}

    def identity(self) -> dict[str, str | int]:
        """What must agree between predictions and the benchmark that they are scored on."""
        return {
            "name": self.name,
            "version": self.version,
            "fingerprint": self.fingerprint,
            "num_samples": len(self.samples),
        }
