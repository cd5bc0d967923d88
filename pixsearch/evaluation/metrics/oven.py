"""OVEN's official accuracy of entity ids.

A text needs to be looked up among six million titles first (pixsearch/evaluation/entity_names.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pixsearch.evaluation.metrics.mean import Mean, harmonic_mean, mean_of


class Part(StrEnum):
    """Which questions: of entity_*.jsonl (what is this?) or of query_*.jsonl (VQA-like)."""

    ENTITY = "entity"
    QUERY = "query"


@dataclass(frozen=True, kw_only=True)
class OvenItem:
    """One question with what was answered.

    Attributes:
        is_seen: `data_split` has "_seen", not "_unseen".
        predicted_id: a Wikidata id; None where there is no prediction.
    """

    part: Part
    is_seen: bool
    entity_id: str
    predicted_id: str | None


@dataclass(frozen=True, kw_only=True)
class PartScores:
    """Accuracies in [0, 1] and their harmonic mean; None where a split has no question."""

    harmonic: float | None
    seen: Mean
    unseen: Mean


@dataclass(frozen=True, kw_only=True)
class OvenScores:
    """`final` is the harmonic mean of the two parts' harmonic means."""

    final: float | None
    query: PartScores
    entity: PartScores


def oven_scores(items: Sequence[OvenItem], *, official_missing: bool = False) -> OvenScores:
    """The official accuracy of entity ids.

    Args:
        official_missing: see `mean_of`.

    >>> items = [
    ...     OvenItem(part=part, is_seen=seen, entity_id="Q1", predicted_id="Q1" if seen else "Q2")
    ...     for part in Part
    ...     for seen in (True, False)
    ... ]
    >>> oven_scores(items).query.seen.mean, oven_scores(items).final
    (1.0, 0.0)
    """
    query, entity = (
        _part_scores([item for item in items if item.part is part], official_missing)
        for part in (Part.QUERY, Part.ENTITY)
    )
    final = harmonic_mean(query.harmonic, entity.harmonic)
    return OvenScores(final=final, query=query, entity=entity)


def _part_scores(items: Sequence[OvenItem], official_missing: bool) -> PartScores:
    seen, unseen = (
        mean_of(
            (_score(item) for item in items if item.is_seen is wanted),
            official_missing=official_missing,
        )
        for wanted in (True, False)
    )
    return PartScores(harmonic=harmonic_mean(seen.mean, unseen.mean), seen=seen, unseen=unseen)


def _score(item: OvenItem) -> float | None:
    return None if item.predicted_id is None else float(item.predicted_id == item.entity_id)
