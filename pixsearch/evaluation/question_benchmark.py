"""A benchmark of annotated questions: the words they are put in, and their scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pixsearch.datasets.questions import AnnotatedQuestion

Metric = Callable[[AnnotatedQuestion, str], float | None]
"""A question and the answer to it → a score from 0 to 1; the benchmark's figure is the mean.

None leaves the question out of the denominator (A-OKVQA's difficult ones); a missing prediction is
scored as the empty answer.
"""

Total = Callable[[Sequence[AnnotatedQuestion], Sequence[str | None]], Mapping[str, Any]]
"""All questions and their answers → figures that are no means over questions (InfoSeek, OVEN).

None stands for a missing prediction.
"""


@dataclass(frozen=True, kw_only=True)
class QuestionBenchmark:
    """A benchmark read from disk.

    Attributes:
        version: raised whenever its scores could change while its files do not.
        fingerprint: SHA-256 of its files.
        prompt: the words that are put to the model for a question.
        prompt_version: names these words; a changed one never reuses an old answer.
        metrics: name → score of one answer; empty where a judge gives verdicts.
        totals: name → figures over all answers.
        is_judged: scores are shares of verdicts (`pixsearch.evaluation.judging`).
        protocol: what a reader must know of how the scores come about, printed with them.
    """

    name: str
    version: int
    split: str
    fingerprint: str
    questions: Sequence[AnnotatedQuestion]
    prompt: Callable[[AnnotatedQuestion], str]
    prompt_version: str
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    totals: Mapping[str, Total] = field(default_factory=dict)
    is_judged: bool = False
    protocol: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> dict[str, int]:
        """Places of the questions by id."""
        return {question.id: place for place, question in enumerate(self.questions)}

    def identity(self) -> dict[str, str | int]:
        """What must agree between predictions and the benchmark that they are scored on."""
        return {
            "name": self.name,
            "version": self.version,
            "split": self.split,
            "fingerprint": self.fingerprint,
            "num_samples": len(self.questions),
            "prompt": self.prompt_version,
        }
