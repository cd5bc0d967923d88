"""results.json: a pure function of the saved predictions and the gold, the same bit for bit.

So are the scores of single samples beside it, scores/POLICY.jsonl.
"""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pixsearch.config import OF_ONE_POLICY, AnswerSpan
from pixsearch.evaluation.benchmark import Benchmark
from pixsearch.evaluation.metrics.bootstrap import RESAMPLES, difference_interval, ratio_interval
from pixsearch.evaluation.metrics.truthfulness import MAX_ANSWER_WORDS, Verdict, judge
from pixsearch.evaluation.paper import POLICY_ORDER
from pixsearch.evaluation.parted_lines import check_name
from pixsearch.evaluation.policy_scores import (
    K,
    Predictions,
    in_group,
    policy_scores,
    sample_scores,
    scored_texts,
    verdicts,
)
from pixsearch.evaluation.prediction import Prediction
from pixsearch.evaluation.sample_scores import write_scores
from pixsearch.evaluation.segmentation_scores import free_running_scores, teacher_forced_scores
from pixsearch.line_store import read_lines, read_manifest, write_json

logger = logging.getLogger(__name__)

PREDICTIONS = "predictions"  # folder of POLICY.jsonl
SCENES = "segmentation/scenes.jsonl"
RESULTS = "results.json"
RUNTIME = "runtime.json"  # {"seconds": float}, written by whoever ran it all

COMPARISONS = {
    "full_over_whole_image": ("full", "whole_image", ratio_interval),
    "whole_image_minus_no_search": ("whole_image", "no_search", difference_interval),
}
"""name → two policies and the paired interval of their accuracies."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What an output folder holds.

    Attributes:
        run: all that decided its predictions, the policy aside.
        options: name of a policy → its `PolicyOptions`.
        policies: name → predictions by interaction id, in the paper's order.
        scenes: lines of segmented scenes by image id.
    """

    run: dict[str, Any]
    options: dict[str, dict[str, Any]]
    policies: dict[str, Predictions]
    scenes: dict[str, dict[str, Any]]
    runtime_seconds: float | None

    @property
    def shown(self) -> str:
        """The policy that speaks for the model: `full`, else the first."""
        return "full" if "full" in self.policies else next(iter(self.policies))

    @property
    def num_passages(self) -> int:
        """That a search of the shown policy returns, at most K: what recall@K looks at."""
        return min(K, self.options[self.shown]["k"])


def write_results(output_dir: Path, benchmark: Benchmark, *, span: AnswerSpan) -> dict[str, Any]:
    """Score a folder, write its results.json and scores/POLICY.jsonl, and return the former.

    Raises:
        ValueError: no predictions, or predictions of another run or benchmark among them.
    """
    saved = read_saved(output_dir, benchmark)
    results = finite(score(saved, benchmark, span=span))
    for name, predictions in saved.policies.items():
        write_scores(output_dir, name, sample_scores(benchmark.samples, predictions, span))
    write_json(output_dir / RESULTS, results)
    return results


def read_saved(output_dir: Path, benchmark: Benchmark) -> Saved:
    """Read all predictions of a folder, and refuse what does not belong together."""
    paths = sorted((output_dir / PREDICTIONS).glob("*.jsonl"), key=_place)
    if not paths:
        raise ValueError(f"{output_dir / PREDICTIONS} has no predictions: set score=after")
    scenes = output_dir / SCENES
    found = paths + [scenes] * scenes.exists()
    manifests = {path: read_manifest(path) for path in found}
    runs = {path: manifest["run"] for path, manifest in manifests.items()}
    run = runs[paths[0]]
    for path, other in runs.items():
        if other != run:
            raise ValueError(f"{path} is of another run than {paths[0]}: move one of them away")
    for path in paths:
        check_name(path, manifests[path]["policy"]["name"])
    if run["benchmark"] != benchmark.identity():
        raise ValueError(
            f"{output_dir} holds answers to {_short(run['benchmark'])}, "
            f"not to {_short(benchmark.identity())}: evaluate again, or restore that benchmark"
        )
    runtime = output_dir / RUNTIME
    return Saved(
        run=run,
        options={path.stem: manifests[path]["policy"] for path in paths},
        policies={path.stem: _read_predictions(path, benchmark) for path in paths},
        scenes={line["image_id"]: line for line in read_lines(scenes, id_field="image_id")},
        runtime_seconds=json.loads(runtime.read_text())["seconds"] if runtime.exists() else None,
    )


def score(saved: Saved, benchmark: Benchmark, *, span: AnswerSpan) -> dict[str, Any]:
    """The results of all policies in a folder."""
    policies = {
        name: {
            "options": saved.options[name],
            **policy_scores(
                benchmark,
                predictions,
                span=span,
                min_region_side=saved.run["retrieval"]["min_region_side"],
            ),
        }
        for name, predictions in saved.policies.items()
    }
    comparable = comparable_policies(policies)
    if left_out := sorted(set(policies) - set(comparable)):
        logger.warning(
            "%s: other options (k, evidence, crop) than %s; compared with no other policy",
            ", ".join(left_out),
            saved.shown,
        )
    return {
        "seed": saved.run["seed"],
        "runtime_seconds": saved.runtime_seconds,
        **_segmentation(saved, benchmark),
        "search_decision": policies[saved.shown]["search_decision"],
        "policies": policies,
        "comparisons": _comparisons(
            benchmark, {name: saved.policies[name] for name in comparable}, span
        ),
        "majority_answer": _majority_scores(benchmark),
        "chance_recall_at_k": saved.num_passages / saved.run["num_documents"],
        "protocol": _protocol(saved, benchmark, span),
    }


def _segmentation(saved: Saved, benchmark: Benchmark) -> dict[str, Any]:
    """Scores of masks; None, which is not zero, for a model that has none."""
    if not saved.run.get("has_masks", True):
        return {"segmentation": None, "teacher_forced_segmentation": None}
    return {
        "segmentation": free_running_scores(benchmark.scenes, saved.scenes),
        "teacher_forced_segmentation": teacher_forced_scores(benchmark.scenes, saved.scenes),
    }


def comparable_policies(policies: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those whose answers may stand against those of `full`: what all policies share is the same.

    A folder may hold others, e.g. `full` with another k beside rows of before.
    """
    first = policies.get("full") or next(iter(policies.values()))
    shared = _shared_options(first)
    return {name: each for name, each in policies.items() if _shared_options(each) == shared}


def _shared_options(policy: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in policy["options"].items() if k not in OF_ONE_POLICY}


def correct_answers(
    benchmark: Benchmark, predictions: Mapping[str, Prediction], group: str, span: AnswerSpan
) -> list[float]:
    """1 for each correct answer of a group, 0 for each other, in the benchmark's order."""
    samples = in_group(benchmark.samples, group)
    found = verdicts(samples, scored_texts(samples, predictions, span))
    return [float(verdict is Verdict.CORRECT) for verdict in found]


def _comparisons(
    benchmark: Benchmark, policies: Mapping[str, Predictions], span: AnswerSpan
) -> dict[str, Any]:
    """Paired intervals of accuracies, by group, clustered by image."""
    found: dict[str, Any] = {}
    for name, (first, second, interval) in COMPARISONS.items():
        if first not in policies or second not in policies:
            continue
        found[name] = {}
        for group in ("overall", "egocentric", "non_egocentric"):
            clusters = [sample.gold.cluster for sample in in_group(benchmark.samples, group)]
            if clusters:
                pair = [
                    correct_answers(benchmark, policies[policy], group, span)
                    for policy in (first, second)
                ]
                found[name][group] = asdict(interval(*pair, clusters))
    return found


def _majority_scores(benchmark: Benchmark) -> dict[str, Any] | None:
    """Accuracy on knowledge questions of the training split's most frequent answer per kind."""
    samples = in_group(benchmark.samples, "knowledge")
    if benchmark.majority_answers is None or not samples:
        return None
    hits = [
        judge(
            benchmark.majority_answers.get((s.gold.question_type, s.gold.answer_kind), ""),
            s.gold.answer,
            s.gold.aliases,
        )
        is Verdict.CORRECT
        for s in samples
    ]
    return {"accuracy": sum(hits) / len(hits), "n": len(hits)}


def _protocol(saved: Saved, benchmark: Benchmark, span: AnswerSpan) -> dict[str, Any]:
    """What a reader must know of how the scores came about."""
    answerable = in_group(benchmark.samples, "overall")
    return {
        "answer_span": span.value,
        "judge": "normalised exact match with the gold answer or an alias",
        "longest_answer_words": MAX_ANSWER_WORDS,
        "unknown_test": "crag-mm paper repository: 'i dont know' or 'i do not know' in a-z0-9",
        "truthfulness": "(2 correct + missing) / n - 1",
        "missing_predictions": "count as hallucinations",
        "num_answerable": len(answerable),
        "num_unanswerable": len(benchmark.samples) - len(answerable),
        "k": saved.num_passages,
        "intervals": f"95 % percentile bootstrap, {RESAMPLES} draws, clustered by image, seed 0",
        "search_decision_of": saved.shown,
        "run": saved.run,
    }


def _read_predictions(path: Path, benchmark: Benchmark) -> dict[str, Prediction]:
    found = {}
    for line in read_lines(path, id_field="interaction_id"):
        if line["interaction_id"] not in benchmark.by_id:
            raise ValueError(
                f"{path}: {line['interaction_id']!r} is no question of {benchmark.name}: "
                "predictions of another benchmark are mixed in"
            )
        found[line["interaction_id"]] = Prediction.from_json(line)
    return found


def _place(path: Path) -> tuple[int, str]:
    """Policies in the paper's order, others after them by name."""
    is_known = path.stem in POLICY_ORDER
    return (POLICY_ORDER.index(path.stem) if is_known else len(POLICY_ORDER), path.stem)


def _short(identity: Mapping[str, Any]) -> str:
    return (
        f"{identity['name']} v{identity['version']} "
        f"({identity['num_samples']} questions, {identity['fingerprint'][:12]})"
    )


def finite(value: Any) -> Any:
    """The value with None for each number that JSON has no word for (a ratio to zero)."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
