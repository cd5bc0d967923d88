"""How a model searches: whether, by what type of query, how often, and what it finds."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pixsearch.config import QueryType
from pixsearch.evaluation.metrics.truthfulness import PrecisionRecall, precision_recall

NO_SEARCH = "none"  # stands in the confusion matrix where one of the two sides made no search


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What one search returned, and the document that it should have.

    Attributes:
        gold_id: None where the gold trajectory has no search in this place.
    """

    type: QueryType
    passage_ids: tuple[str, ...]
    gold_id: str | None


@dataclass(frozen=True, kw_only=True)
class Recall:
    recall: float
    n: int


def search_decision(needs_search: Sequence[bool], num_searches: Sequence[int]) -> PrecisionRecall:
    """Precision and recall of the decision to search at all.

    >>> search_decision([True, True, False], [2, 0, 0])
    PrecisionRecall(precision=1.0, recall=0.5)
    """
    return precision_recall(needs_search, [count > 0 for count in num_searches])


def query_confusion(
    gold: Sequence[Sequence[QueryType]], predicted: Sequence[Sequence[QueryType]]
) -> dict[str, dict[str, int]]:
    """Counts by gold type, then by predicted type, of the searches that stand in the same place.

    >>> query_confusion([[QueryType.region, QueryType.text]], [[QueryType.image]])
    {'region': {'image': 1}, 'text': {'none': 1}}
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for gold_types, predicted_types in zip(gold, predicted, strict=True):
        for place in range(max(len(gold_types), len(predicted_types))):
            row = gold_types[place].value if place < len(gold_types) else NO_SEARCH
            column = predicted_types[place].value if place < len(predicted_types) else NO_SEARCH
            counts[row][column] += 1
    return {row: dict(sorted(columns.items())) for row, columns in sorted(counts.items())}


def recall_at_k(rankings: Sequence[Ranking], *, k: int) -> dict[str, Recall]:
    """By query type, the share of searches that have the gold document among the first k.

    A document that fills several places (several of its images) counts once, as the searcher folds
    them. Searches beyond the gold trajectory have no gold document and are left out.

    >>> recall_at_k([Ranking(type=QueryType.text, passage_ids=("a", "b"), gold_id="b")], k=1)
    {'text': Recall(recall=0.0, n=1)}
    """
    hits: dict[str, list[bool]] = defaultdict(list)
    for ranking in rankings:
        if ranking.gold_id is not None:
            hits[ranking.type.value].append(ranking.gold_id in ranking.passage_ids[:k])
    return {
        name: Recall(recall=sum(found) / len(found), n=len(found))
        for name, found in sorted(hits.items())
    }


def calls_per_sample(predicted: Sequence[Sequence[QueryType]]) -> dict[str, float]:
    """Mean number of searches of each type per sample, and of all types.

    >>> calls_per_sample([[QueryType.text, QueryType.region], []])
    {'text': 0.5, 'image': 0.0, 'region': 0.5, 'all': 1.0}
    """
    count = Counter(query_type for types in predicted for query_type in types)
    n = max(1, len(predicted))
    by_type = {query_type.value: count[query_type] / n for query_type in QueryType}
    return {**by_type, "all": sum(count.values()) / n}


def calls_histogram(predicted: Sequence[Sequence[QueryType]]) -> dict[str, int]:
    """How many samples made 0, 1, 2, … searches.

    >>> calls_histogram([[QueryType.text], [], []])
    {'0': 2, '1': 1}
    """
    return {str(calls): n for calls, n in sorted(Counter(map(len, predicted)).items())}
