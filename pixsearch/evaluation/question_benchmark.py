"""A benchmark of annotated questions: the words they are put in, and their scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pixsearch.config import EvaluateOptions
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.metrics.truthfulness import says_unknown
from pixsearch.evaluation.prediction import Prediction
from pixsearch.evaluation.verdicts import JudgedAnswer, JudgeVerdict

Metric = Callable[[AnnotatedQuestion, str], float | None]
"""A question and the answer to it → a score from 0 to 1; the benchmark's figure is the mean.

None leaves the question out of the denominator (A-OKVQA's difficult ones); a missing prediction is
scored as the empty answer.
"""

Total = Callable[[Sequence[AnnotatedQuestion], Sequence[str | None]], Mapping[str, Any]]
"""All questions and their answers → figures that are no means over questions (InfoSeek, OVEN).

None stands for a missing prediction.
"""

Verdicts = Sequence[JudgeVerdict]
CountVerdicts = Callable[[Sequence[AnnotatedQuestion], Verdicts], Verdicts]
"""Questions and the verdicts on their answers → the verdicts as they are counted."""

VerdictTotal = Callable[[Sequence[AnnotatedQuestion], Verdicts], Mapping[str, Any]]
"""Questions and the verdicts on their answers, before `CountVerdicts` → figures over all of them,
an interval [low, high] among them as `NAME_interval`."""

SearchTotal = Callable[
    [Sequence[AnnotatedQuestion], Mapping[str, Prediction], int], Mapping[str, Any]
]
"""Questions, predictions by id and passages per search → figures of the searches, e.g. how many
found the gold."""

WriteOfficial = Callable[
    [Path, Sequence[AnnotatedQuestion], Mapping[str, str], Mapping[str, JudgedAnswer]], None
]
"""Writes a policy's answers as the official scorer reads them: a folder, all questions, the answers
by id (without missing and failed ones) and the verdicts by id (empty before they are given)."""


def as_counted(questions: Sequence[AnnotatedQuestion], verdicts: Verdicts) -> Verdicts:
    """Each verdict as it is."""
    return verdicts


def as_it_is(answer: str) -> str:
    return answer


def no_objection(options: EvaluateOptions) -> None:
    """Any options will do."""


@dataclass(frozen=True, kw_only=True)
class JudgeRules:
    """What a judged benchmark does around the judge.

    Attributes:
        name: of the test for "I don't know"; verdicts of another one are refused.
        says_unknown: whether an answer abstains, for which no judge is asked.
        count: from the verdicts on answers to those that are counted.
        totals: name → figures over all verdicts, and over those of each group.
    """

    name: str = "paper"
    says_unknown: Callable[[str], bool] = says_unknown
    count: CountVerdicts = as_counted
    totals: Mapping[str, VerdictTotal] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class QuestionBenchmark:
    """A benchmark read from disk.

    Questions that share a `session_id` are turns of one conversation, in their order here: each is
    asked after the model's own answers to those before it.

    Attributes:
        version: raised whenever its scores could change while its files do not.
        fingerprint: SHA-256 of its files.
        prompt: the words that are put to the model for a question.
        prompt_version: names these words; a changed one never reuses an old answer.
        metrics: name → score of one answer; empty where a judge gives verdicts.
        totals: name → figures over all answers.
        is_judged: scores are shares of verdicts (`pixsearch.evaluation.verdicts`).
        rules: of a judged benchmark.
        cut: what becomes of an answer before it is saved, scored or said again in a later turn.
        preparation: what else decides the answers, in a word or two: how they are cut, how images
            are resized; a changed one never reuses an old answer.
        search_totals: name → figures of the searches.
        groups: name → which questions belong to it; scored like the whole.
        check: refuses, by a ValueError, options under which the scores would mean something else.
        write_official: None where the official scorer reads no file of its own.
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
    rules: JudgeRules = field(default_factory=JudgeRules)
    cut: Callable[[str], str] = as_it_is
    preparation: str = ""
    search_totals: Mapping[str, SearchTotal] = field(default_factory=dict)
    groups: Mapping[str, Callable[[AnnotatedQuestion], bool]] = field(default_factory=dict)
    check: Callable[[EvaluateOptions], None] = no_objection
    write_official: WriteOfficial | None = None
    protocol: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> dict[str, int]:
        """Places of the questions by id."""
        return {question.id: place for place, question in enumerate(self.questions)}

    @cached_property
    def sessions(self) -> list[list[int]]:
        """Places of the questions of each conversation, in order; one that stands alone is its own.

        The conversations stand in the order of their first questions.
        """
        found: dict[tuple[str, str], list[int]] = {}
        for place, question in enumerate(self.questions):
            alone = question.session_id is None
            key = ("question", question.id) if alone else ("session", question.session_id)
            found.setdefault(key, []).append(place)
        return list(found.values())

    @cached_property
    def has_conversations(self) -> bool:
        """Whether a question is asked after another."""
        return any(len(places) > 1 for places in self.sessions)

    def cluster(self, question: AnnotatedQuestion) -> str:
        """What is drawn together by a bootstrap: the conversation, else the image, else itself."""
        if self.has_conversations and question.session_id is not None:
            return question.session_id
        return question.image_id or question.id

    def identity(self) -> dict[str, str | int]:
        """What must agree between predictions and the benchmark that they are scored on."""
        return {
            "name": self.name,
            "version": self.version,
            "split": self.split,
            "fingerprint": self.fingerprint,
            "num_samples": len(self.questions),
            "prompt": self.prompt_version,
            "preparation": self.preparation,
        }
