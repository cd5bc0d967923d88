"""Policies held against each other, sample by sample."""

from collections.abc import Mapping, Sequence
from typing import Any

from pixsearch.evaluation.metrics.bootstrap import difference_interval
from pixsearch.evaluation.sample_scores import ScoredSample


def paired_differences(samples: Mapping[str, Sequence[ScoredSample]]) -> dict[str, Any]:
    """Paired differences of each policy to the first, over the samples that both score."""
    first, *others = samples
    return {
        other: {
            "to": first,
            "metrics": {
                metric: _difference(samples[other], samples[first], metric)
                for metric in (samples[first][0].scores if samples[first] else ())
            },
        }
        for other in others
    }


def _difference(
    ours: Sequence[ScoredSample], theirs: Sequence[ScoredSample], metric: str
) -> dict[str, Any]:
    pairs = [
        (one.scores[metric], other.scores[metric], one.cluster)
        for one, other in zip(ours, theirs, strict=True)
        if one.scores[metric] is not None and other.scores[metric] is not None
    ]
    if not pairs:
        return {"value": None, "interval": None, "n": 0}
    first, second, clusters = zip(*pairs, strict=True)
    found = difference_interval(first, second, clusters)
    return {"value": found.estimate, "interval": [found.low, found.high], "n": len(pairs)}
