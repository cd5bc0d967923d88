"""All figures of one policy: a pure function of its predictions and the gold."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pixsearch.config import AnswerSpan, QueryType
from pixsearch.datasets.masks import Rle
from pixsearch.evaluation.benchmark import Benchmark
from pixsearch.evaluation.gold import Gold, Sample, SceneKind, decode_rle
from pixsearch.evaluation.metrics.bootstrap import Interval, mean_interval
from pixsearch.evaluation.metrics.search import (
    Ranking,
    calls_histogram,
    calls_per_sample,
    query_confusion,
    recall_at_k,
    search_decision,
)
from pixsearch.evaluation.metrics.truthfulness import (
    Truthfulness,
    Verdict,
    abstention,
    hallucination_when_attempted,
    judge,
    truthfulness,
)
from pixsearch.evaluation.prediction import Prediction
from pixsearch.evaluation.sample_scores import ScoredSample
from pixsearch.retrieval.crops import mask_box

K = 5  # of recall@k
POINTS = {Verdict.CORRECT: 1.0, Verdict.MISSING: 0.0, Verdict.HALLUCINATION: -1.0}

GROUPS: dict[str, Callable[[Gold], bool]] = {
    "overall": lambda gold: True,
    "egocentric": lambda gold: gold.scene_kind is SceneKind.EGOCENTRIC,
    "non_egocentric": lambda gold: gold.scene_kind is SceneKind.NON_EGOCENTRIC,
    "no_image": lambda gold: gold.scene_kind is SceneKind.NONE,
    "knowledge": lambda gold: gold.needs_search,
}
"""Groups of answerable questions; unanswerable ones are in no group (abstention has them)."""

Predictions = Mapping[str, Prediction]


def policy_scores(
    benchmark: Benchmark, predictions: Predictions, *, span: AnswerSpan, min_region_side: int
) -> dict[str, Any]:
    """Scores by group, abstention, how the policy searched. A missing or failed answer is wrong.

    Args:
        min_region_side: pixels; smaller regions were widened before they were searched with.
    """
    texts = scored_texts(benchmark.samples, predictions, span)
    groups = {name: _group_scores(in_group(benchmark.samples, name), texts) for name in GROUPS}
    return {
        **groups,
        "by_question_type": _by_question_type(benchmark.samples, texts),
        "abstention": _abstention(benchmark.samples, texts),
        **_search_scores(benchmark.samples, predictions),
        "recall_at_k": {
            name: _recall(in_group(benchmark.samples, name), predictions)
            for name in ("overall", "egocentric", "non_egocentric")
        },
        **_counts(benchmark.samples, predictions, texts),
        **_query_counts(predictions, min_region_side),
    }


def in_group(samples: Sequence[Sample], name: str) -> list[Sample]:
    """The answerable questions of a group."""
    return [sample for sample in samples if sample.gold.answerable and GROUPS[name](sample.gold)]


def scored_texts(
    samples: Sequence[Sample], predictions: Predictions, span: AnswerSpan
) -> dict[str, str]:
    """The text of each answer that is scored, empty where there is no answer."""
    return {
        sample.id: predictions[sample.id].scored_text(span) if sample.id in predictions else ""
        for sample in samples
    }


def verdicts(samples: Sequence[Sample], texts: Mapping[str, str]) -> list[Verdict]:
    return [judge(texts[s.id], s.gold.answer, s.gold.aliases) for s in samples]


def sample_scores(
    samples: Sequence[Sample], predictions: Predictions, span: AnswerSpan
) -> list[ScoredSample]:
    """Of each answerable question, what the group scores are means of."""
    answerable = in_group(samples, "overall")
    found = verdicts(answerable, scored_texts(answerable, predictions, span))
    return [
        ScoredSample(
            id=sample.id,
            cluster=sample.gold.cluster,
            slices={
                "question_type": sample.gold.question_type,
                "scene_kind": sample.gold.scene_kind.value,
            },
            scores={
                "accuracy": float(verdict is Verdict.CORRECT),
                "missing": float(verdict is Verdict.MISSING),
                "hallucination": float(verdict is Verdict.HALLUCINATION),
                "truthfulness": POINTS[verdict],
            },
        )
        for sample, verdict in zip(answerable, found, strict=True)
    ]


def bounds(interval: Interval) -> list[float]:
    return [interval.low, interval.high]


def _group_scores(samples: Sequence[Sample], texts: Mapping[str, str]) -> dict[str, Any]:
    """The four scores with 95 % intervals clustered by image; None where the group is empty."""
    if not samples:
        return {**dict.fromkeys(("accuracy", "missing", "hallucination", "truthfulness")), "n": 0}
    found = verdicts(samples, texts)
    scores = truthfulness(found)
    assert abs(scores.accuracy + scores.missing + scores.hallucination - 1) < 1e-9
    clusters = [sample.gold.cluster for sample in samples]
    return {
        **asdict(scores),
        "hallucination_when_attempted": hallucination_when_attempted(scores),
        "accuracy_interval": bounds(
            mean_interval([float(verdict is Verdict.CORRECT) for verdict in found], clusters)
        ),
        "truthfulness_interval": bounds(
            mean_interval([POINTS[verdict] for verdict in found], clusters)
        ),
    }


def _by_question_type(
    samples: Sequence[Sample], texts: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    answerable = in_group(samples, "overall")
    types = sorted({sample.gold.question_type for sample in answerable})
    scores: dict[str, Truthfulness] = {
        name: truthfulness(verdicts([s for s in answerable if s.gold.question_type == name], texts))
        for name in types
    }
    return {name: asdict(score) for name, score in scores.items()}


def _abstention(samples: Sequence[Sample], texts: Mapping[str, str]) -> dict[str, Any]:
    answerable = [sample.gold.answerable for sample in samples]
    scores = abstention(answerable, [texts[sample.id] for sample in samples])
    return {**asdict(scores), "num_unanswerable": len(samples) - sum(answerable)}


def _search_scores(samples: Sequence[Sample], predictions: Predictions) -> dict[str, Any]:
    """The decision to search and the queries; samples without an answer made no search."""
    asked = [_types(predictions.get(sample.id)) for sample in samples]
    gold = [[search.type for search in sample.gold.searches] for sample in samples]
    needs = [sample.gold.needs_search for sample in samples]
    by_kind = {
        kind.value: calls_per_sample(
            [types for types, s in zip(asked, samples, strict=True) if s.gold.scene_kind is kind]
        )
        for kind in SceneKind
    }
    return {
        "search_decision": {
            **asdict(search_decision(needs, [len(types) for types in asked])),
            "n": len(samples),
        },
        "query_confusion": query_confusion(gold, asked),
        "calls_per_sample": {"overall": calls_per_sample(asked), **by_kind},
        "calls_histogram": calls_histogram(asked),
    }


def _types(prediction: Prediction | None) -> tuple[QueryType, ...]:
    return prediction.query_types if prediction else ()


def _recall(samples: Sequence[Sample], predictions: Predictions) -> dict[str, Any]:
    """recall@K by query type, and of all gold documents the share that any search found."""
    asked = [(s.gold, predictions[s.id].queries) for s in samples if s.id in predictions]
    rankings = [
        Ranking(type=query.type, passage_ids=query.passage_ids, gold_id=search.entity_id)
        for gold, queries in asked
        for query, search in zip(queries, gold.searches, strict=False)
    ]
    wanted = [
        search.entity_id in {id for query in queries for id in query.passage_ids[:K]}
        for gold, queries in asked
        for search in gold.searches
    ]
    by_type = {name: asdict(score) for name, score in recall_at_k(rankings, k=K).items()}
    return {
        **by_type,
        "gold_documents": {
            "recall": sum(wanted) / len(wanted) if wanted else None,
            "n": len(wanted),
        },
    }


def _counts(
    samples: Sequence[Sample], predictions: Predictions, texts: Mapping[str, str]
) -> dict[str, Any]:
    found = [predictions[sample.id] for sample in samples if sample.id in predictions]
    reasons = Counter(prediction.finish_reason for prediction in found)
    return {
        "num_missing_predictions": len(samples) - len(found),
        "num_failed": sum(prediction.failed is not None for prediction in found),
        "num_unanswered_answerable": sum(
            sample.id not in predictions or predictions[sample.id].failed is not None
            for sample in in_group(samples, "overall")
        ),
        "num_empty_answers": sum(
            not texts[prediction.interaction_id]
            for prediction in found
            if prediction.failed is None
        ),
        "num_control_unavailable": sum(prediction.unavailable for prediction in found),
        "finish_reasons": dict(sorted(reasons.items())),
    }


def _query_counts(predictions: Predictions, min_region_side: int) -> dict[str, int]:
    """What was done to queries, and what they did not find; none of it is seen in the scores."""
    queries = [query for prediction in predictions.values() for query in prediction.queries]
    regions = [query.mask for query in queries if query.mask and query.empty_mask is None]
    return {
        "num_empty_masks": sum(query.empty_mask is not None for query in queries),
        "num_tiny_masks": sum(_shorter_side(mask) < min_region_side for mask in regions),
        "num_failed_searches": sum(query.failed is not None for query in queries),
        "num_empty_evidence": sum(
            not query.passage_ids and query.failed is None for query in queries
        ),
    }


def _shorter_side(mask: Rle) -> int:
    """Of the mask's box, in pixels."""
    left, top, right, bottom = mask_box(decode_rle(mask))
    return min(right - left, bottom - top)
