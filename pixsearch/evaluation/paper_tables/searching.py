"""How answers searched, by what kind of image they are about: the paper's figure 4."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from pixsearch.config import QueryType
from pixsearch.evaluation.paper_tables.folders import ResultFolder, scene_kind


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """Of the answers about one kind of image.

    Attributes:
        histogram: number of searches → answers that made so many.
        by_type: type of query → searches.
    """

    histogram: Mapping[int, int]
    by_type: Mapping[str, int]

    @property
    def num_answers(self) -> int:
        return sum(self.histogram.values())

    @property
    def num_searches(self) -> int:
        return sum(self.by_type.values())

    @property
    def per_answer(self) -> float:
        return self.num_searches / self.num_answers

    def share(self, type: QueryType) -> float | None:
        """Of the searches; None where there is none."""
        return self.by_type[type.value] / self.num_searches if self.num_searches else None

    @property
    def usual(self) -> int:
        """The number of searches that most answers made."""
        return max(self.histogram, key=lambda calls: self.histogram[calls])


def search_behaviour(folder: ResultFolder, policy: str) -> dict[str, Behaviour]:
    """Kind of image → how the answers searched; scored samples alone, a missing answer did not.

    Raises:
        ValueError: the folder has no scores of single samples, or no predictions.
    """
    samples, asked = folder.scores(policy), folder.query_types(policy)
    if not samples:
        raise ValueError(f"{folder.path}/scores: no scores of {policy}; evaluate, or score=only")
    types: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for sample in samples.values():
        types[scene_kind(sample)].append(asked.get(sample.id, ()))
    return {kind: _behaviour(found) for kind, found in sorted(types.items())}


def _behaviour(types: list[tuple[str, ...]]) -> Behaviour:
    counted = Counter(type for each in types for type in each)
    return Behaviour(
        histogram=dict(sorted(Counter(map(len, types)).items())),
        by_type={type.value: counted[type.value] for type in QueryType},
    )
