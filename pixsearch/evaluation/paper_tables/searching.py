"""How answers searched, by what kind of image they are about: the paper's figure 4."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pixsearch.config import QueryType
from pixsearch.evaluation.metrics.bootstrap import mean_interval, ratio_interval
from pixsearch.evaluation.paper_tables.folders import (
    Figure,
    ResultFolder,
    interval_of,
    scene_kind,
)


class Searched(NamedTuple):
    """One answer: types of its searches in order, and what an interval draws together."""

    types: tuple[str, ...]
    cluster: tuple[str, str]  # benchmark, image (or conversation)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """Of the answers about one kind of image.

    Attributes:
        answers: one at least.
        num_left_out: samples without an answer, failed or missing.
    """

    answers: tuple[Searched, ...]
    num_left_out: int = 0

    @property
    def num_answers(self) -> int:
        return len(self.answers)

    @property
    def num_searches(self) -> int:
        return sum(self._counts)

    @property
    def histogram(self) -> dict[int, int]:
        """Number of searches → answers that made so many."""
        return dict(sorted(Counter(self._counts).items()))

    @property
    def by_type(self) -> dict[QueryType, int]:
        """Searches by type of query."""
        counted = Counter(type for each in self.answers for type in each.types)
        return {type: counted[type] for type in QueryType}

    def per_answer(self) -> Figure:
        """Searches per answer."""
        return self._mean(self._counts)

    def share_of_answers(self, *counts: int) -> Figure:
        """The share of answers that made one of these numbers of searches."""
        return self._mean([count in counts for count in self._counts])

    def share_of_searches(self, type: QueryType) -> Figure | None:
        """The share of searches that are of a type; None where there is no search."""
        if not self.num_searches:
            return None
        found = ratio_interval(
            [float(each.types.count(type)) for each in self.answers],
            [float(count) for count in self._counts],
            self._clusters,
        )
        low, high = interval_of(found)
        interval = (low, min(high, 1.0))  # infinite where a draw has no search
        return Figure(value=found.estimate, interval=interval, n=self.num_searches)

    @property
    def _counts(self) -> list[int]:
        return [len(each.types) for each in self.answers]

    @property
    def _clusters(self) -> list[tuple[str, str]]:
        return [each.cluster for each in self.answers]

    def _mean(self, values: Sequence[int]) -> Figure:
        found = mean_interval([float(value) for value in values], self._clusters)
        return Figure(value=found.estimate, interval=interval_of(found), n=len(values))


def search_behaviour(folders: Sequence[ResultFolder], policy: str) -> Mapping[str, Behaviour]:
    """Kind of image → how the answers of all folders searched, scored samples alone.

    Raises:
        ValueError: a folder has no scores of single samples, or no predictions, or all have failed.
    """
    answers: dict[str, list[Searched]] = defaultdict(list)
    left_out: Counter[str] = Counter()
    for folder in folders:
        samples, asked = folder.scores(policy), folder.query_types(policy)
        if not samples:
            raise ValueError(
                f"{folder.path}/scores: no scores of {policy}; evaluate, or score=only"
            )
        for sample in samples.values():
            kind = scene_kind(sample)
            if sample.id in asked:
                cluster = (folder.identity, sample.cluster)
                answers[kind].append(Searched(asked[sample.id], cluster))
            else:
                left_out[kind] += 1
    if not answers:
        names = ", ".join(str(folder.path) for folder in folders)
        raise ValueError(f"{names}: no answer of {policy}; evaluate with retry_failed=true")
    return {
        kind: Behaviour(answers=tuple(found), num_left_out=left_out[kind])
        for kind, found in sorted(answers.items())
    }
