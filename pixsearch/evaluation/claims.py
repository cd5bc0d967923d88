"""What the miniature must show (issue 2), each claim computed from the results."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pixsearch.config import AnswerSpan
from pixsearch.evaluation.benchmark import Benchmark
from pixsearch.evaluation.metrics.bootstrap import ratio_interval
from pixsearch.evaluation.policy_scores import in_group
from pixsearch.evaluation.score import comparable_policies, correct_answers, read_saved

PAPER_RATIO = 1.197  # accuracy of full over that of whole image in the paper, 37.7 / 31.5
POINTS = 0.03  # by how much a control may pass what it is compared with
RANDOM_FACTOR = 10.0  # how much better than chance a whole-image search must be
MAIN_POLICIES = ("no_search", "text_query", "whole_image", "full")

Results = Mapping[str, Any]


class Relation(StrEnum):
    ABOVE = ">"
    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim: `value relation threshold`.

    Attributes:
        value: None where the results do not hold what it is computed from.
    """

    name: str
    value: float | None
    relation: Relation
    threshold: float | None

    @property
    def met(self) -> bool | None:
        """None where it was not measured."""
        if self.value is None or self.threshold is None:
            return None
        match self.relation:
            case Relation.ABOVE:
                return self.value > self.threshold
            case Relation.AT_LEAST:
                return self.value >= self.threshold
            case Relation.AT_MOST:
                return self.value <= self.threshold


def claims(results: Results) -> list[Claim]:
    """All claims that one world's results can speak of."""
    results = {**results, "policies": comparable_policies(results["policies"])}
    return [
        *_quality(results),
        *_pixel_search(results),
        *_ranks(results),
        *_whole_image_is_fair(results),
        *_controls(results),
    ]


def pooled_ratio(
    folders: Sequence[tuple[Path, Benchmark]], *, span: AnswerSpan = AnswerSpan.after_last_search
) -> dict[str, float]:
    """accuracy(full) / accuracy(whole_image) over the questions of several worlds together.

    Args:
        folders: output folders of finished evaluations, each with its world.

    Returns:
        `estimate`, `low` and `high` of the paired 95 % interval, clustered by world and image.

    Raises:
        ValueError: a folder lacks one of the two policies, or answers of one.
    """
    full: list[float] = []
    whole_image: list[float] = []
    clusters: list[tuple[int, str]] = []
    for number, (folder, benchmark) in enumerate(folders):
        policies = read_saved(folder, benchmark).policies
        for name in ("full", "whole_image"):
            num_missing = len(set(benchmark.by_id) - set(policies.get(name, ())))
            if num_missing:
                raise ValueError(
                    f"{folder}: {num_missing} of {len(benchmark.samples)} answers of {name} are "
                    "missing: evaluate it to its end"
                )
        full += correct_answers(benchmark, policies["full"], "overall", span)
        whole_image += correct_answers(benchmark, policies["whole_image"], "overall", span)
        samples = in_group(benchmark.samples, "overall")
        clusters += [(number, sample.gold.cluster) for sample in samples]
    return asdict(ratio_interval(full, whole_image, clusters))


def _quality(results: Results) -> list[Claim]:
    decision = ("search_decision",)
    return [
        _at_least("answers scored", _num_answers(results), 300.0),
        _at_least("gIoU, free-running", _find(results, "segmentation", "giou"), 0.75),
        _at_least("search decision, precision", _find(results, *decision, "precision"), 0.95),
        _at_least("search decision, recall", _find(results, *decision, "recall"), 0.95),
    ]


def _num_answers(results: Results) -> float | None:
    """Questions of `full` that are scored, without those that it has not answered yet."""
    scored = _find(results, *_scores("full"), "n")
    missing = _find(results, "policies", "full", "num_unanswered_answerable")
    return None if scored is None or missing is None else scored - missing


def _pixel_search(results: Results) -> list[Claim]:
    ratio = ("comparisons", "full_over_whole_image")
    overall = _find(results, *ratio, "overall", "estimate")
    egocentric = _find(results, *ratio, "egocentric", "estimate")
    others = _find(results, *ratio, "non_egocentric", "estimate")
    return [
        _above("full / whole_image, lower bound", _find(results, *ratio, "overall", "low"), 1.0),
        _at_least("full / whole_image (asked of seeds pooled)", overall, PAPER_RATIO),
        _above("full / whole_image, egocentric against the others", egocentric, others),
    ]


def _ranks(results: Results) -> list[Claim]:
    truthfulness = {name: _score(results, name, "truthfulness") for name in MAIN_POLICIES}
    attempted = {
        name: _score(results, name, "hallucination_when_attempted") for name in MAIN_POLICIES
    }
    accuracy = {
        name: _score(results, name)
        for name in ("only_text", "only_region", "only_image", "no_search", "budget_1", "budget_2")
    }
    others = MAIN_POLICIES[:-1]
    return [
        _above(
            "truthfulness of full against the best of the others",
            truthfulness["full"],
            _extreme(max, [truthfulness[name] for name in others]),
        ),
        _above(
            "hallucination when attempted: the least of the others against full",
            _extreme(min, [attempted[name] for name in others]),
            attempted["full"],
        ),
        _above(
            "worse of only_region and only_image against only_text",
            _extreme(min, [accuracy["only_region"], accuracy["only_image"]]),
            accuracy["only_text"],
        ),
        _above("budget 1 against budget 0", accuracy["budget_1"], accuracy["no_search"]),
        _at_most(
            "budget 1 against budget 2 + 0.02",
            accuracy["budget_1"],
            _plus(accuracy["budget_2"], 0.02),
        ),
    ]


def _whole_image_is_fair(results: Results) -> list[Claim]:
    whole = _find(results, "policies", "whole_image", "non_egocentric", "accuracy")
    full = _find(results, "policies", "full", "non_egocentric", "accuracy")
    recall = _find(
        results, "policies", "whole_image", "recall_at_k", "egocentric", "image", "recall"
    )
    chance = _find(results, "chance_recall_at_k")
    gain = _find(results, "comparisons", "whole_image_minus_no_search", "egocentric", "low")
    return [
        _at_least("whole_image, non-egocentric, against 0.9 full", whole, _times(full, 0.9)),
        _at_least(
            "whole_image, egocentric recall@5 against 10 x chance",
            recall,
            _times(chance, RANDOM_FACTOR),
        ),
        _above("whole_image - no_search, egocentric, lower bound", gain, 0.0),
    ]


def _controls(results: Results) -> list[Claim]:
    whole_image = _plus(_score(results, "whole_image"), POINTS)
    no_search = _plus(_score(results, "no_search"), POINTS)
    majority = _plus(_find(results, "majority_answer", "accuracy"), POINTS)
    guessed = _find(results, "policies", "no_search", "knowledge", "accuracy")
    return [
        _at_least(
            "gold_region against full", _score(results, "gold_region"), _score(results, "full")
        ),
        _at_most(
            "random_region against whole_image + 3", _score(results, "random_region"), whole_image
        ),
        _at_most(
            "other_region against whole_image + 3", _score(results, "other_region"), whole_image
        ),
        _at_most(
            "shuffled_passages against no_search + 3",
            _score(results, "shuffled_passages"),
            no_search,
        ),
        _at_most("no_search on knowledge against majority answer + 3", guessed, majority),
    ]


def _find(results: Results, *path: str) -> float | None:
    """A figure deep in the results; None where it is not there."""
    found: Any = results
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return None if found is None else float(found)


def _scores(policy: str) -> tuple[str, str, str]:
    return ("policies", policy, "overall")


def _score(results: Results, policy: str, score: str = "accuracy") -> float | None:
    return _find(results, *_scores(policy), score)


def _extreme(choose: Any, values: Sequence[float | None]) -> float | None:
    return None if any(value is None for value in values) else choose(values)


def _plus(value: float | None, more: float) -> float | None:
    return None if value is None else value + more


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _above(name: str, value: float | None, threshold: float | None) -> Claim:
    return Claim(name=name, value=value, relation=Relation.ABOVE, threshold=threshold)


def _at_least(name: str, value: float | None, threshold: float | None) -> Claim:
    return Claim(name=name, value=value, relation=Relation.AT_LEAST, threshold=threshold)


def _at_most(name: str, value: float | None, threshold: float | None) -> Claim:
    return Claim(name=name, value=value, relation=Relation.AT_MOST, threshold=threshold)
