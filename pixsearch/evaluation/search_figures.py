"""How a policy searched: a pure function of its predictions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pixsearch.config import QueryType
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.metrics.search import calls_histogram, calls_per_sample
from pixsearch.evaluation.prediction import Prediction


def search_figures(
    questions: Sequence[AnnotatedQuestion], predictions: Mapping[str, Prediction]
) -> dict[str, Any]:
    """Over all samples; one without a prediction made no search."""
    asked = {question.id: _types(predictions.get(question.id)) for question in questions}
    queries = [query for prediction in predictions.values() for query in prediction.queries]
    counts = Counter(query.type for query in queries)
    return {
        **_calls(list(asked.values())),
        "by_type": {query_type.value: counts[query_type] for query_type in QueryType},
        "num_forced": sum(query.forced for query in queries),
        "num_failed_searches": sum(query.failed is not None for query in queries),
        "num_empty_masks": sum(query.empty_mask is not None for query in queries),
        "num_empty_evidence": sum(
            not query.passage_ids and query.failed is None for query in queries
        ),
        "by_slice": {
            label: {
                value: _calls([asked[id] for id in ids]) for value, ids in sorted(found.items())
            }
            for label, found in _ids_by_slice(questions).items()
        },
    }


def _calls(asked: Sequence[Sequence[QueryType]]) -> dict[str, Any]:
    return {"calls_per_sample": calls_per_sample(asked), "histogram": calls_histogram(asked)}


def _types(prediction: Prediction | None) -> tuple[QueryType, ...]:
    return prediction.query_types if prediction else ()


def _ids_by_slice(questions: Sequence[AnnotatedQuestion]) -> dict[str, dict[str, list[str]]]:
    """Label → value → ids of the questions that have it."""
    found: dict[str, dict[str, list[str]]] = {}
    for question in questions:
        for label, value in question.labels:
            found.setdefault(label, {}).setdefault(value, []).append(question.id)
    return found
