"""results.json of a benchmark of annotated questions: a pure function of the saved files."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixsearch.config import AnswerSpan
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.comparisons import paired_differences
from pixsearch.evaluation.metrics.bootstrap import RESAMPLES
from pixsearch.evaluation.question_benchmark import QuestionBenchmark
from pixsearch.evaluation.sample_scores import (
    ScoredSample,
    mean_figures,
    metric_scores,
    slice_figures,
    verdict_scores,
    write_scores,
)
from pixsearch.evaluation.saved_answers import PolicyAnswers, read_answers
from pixsearch.evaluation.score import RESULTS, comparable_policies, finite
from pixsearch.evaluation.search_figures import search_figures
from pixsearch.evaluation.verdicts import (
    JudgedAnswer,
    JudgeVerdict,
    not_judged,
    read_verdicts,
    verdicts_path,
)
from pixsearch.line_store import read_manifest, write_json

logger = logging.getLogger(__name__)

OFFICIAL = "official"  # folder of POLICY/, files for the official scorer


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How answers are scored, beside what the benchmark says."""

    span: AnswerSpan
    official_missing: bool


@dataclass(frozen=True, kw_only=True)
class _Policy:
    """One policy on its way to its scores.

    Attributes:
        answers: the texts that are scored by sample id, without missing and failed ones.
        verdicts: of a judged benchmark, in the benchmark's order, before they are counted.
    """

    saved: PolicyAnswers
    answers: Mapping[str, str]
    verdicts: Sequence[JudgeVerdict] = ()
    judge: Mapping[str, Any] | None = None


def write_question_results(
    output_dir: Path, benchmark: QuestionBenchmark, *, span: AnswerSpan, official_missing: bool
) -> dict[str, Any]:
    """Score a folder; write results.json, scores/ and official/, and return the results.

    Policies whose answers a judge has not seen yet are left out and named in a line of the log; if
    that is all of them, there is no results.json.

    Raises:
        ValueError: no predictions, those of another run or benchmark, or two judges' verdicts.
    """
    rules = Rules(span=span, official_missing=official_missing)
    policies = []
    for saved in read_answers(output_dir, benchmark):
        policy = _read_policy(output_dir, benchmark, saved, rules)
        if policy is not None:
            policies.append(policy)
    if not policies:
        (output_dir / RESULTS).unlink(missing_ok=True)  # of answers that have changed since
        return {"benchmark": benchmark.identity(), "policies": {}}
    samples = {one.saved.policy: _scores(benchmark, one, rules) for one in policies}
    results = finite(_results(benchmark, policies, samples, rules))
    for name, scored in samples.items():
        write_scores(output_dir, name, scored)
    write_json(output_dir / RESULTS, results)
    return results


def _read_policy(
    output_dir: Path, benchmark: QuestionBenchmark, saved: PolicyAnswers, rules: Rules
) -> _Policy | None:
    """None if it is to be judged first."""
    answers = saved.texts(benchmark, rules.span)
    path = verdicts_path(output_dir, saved.policy)
    verdicts: dict[str, JudgedAnswer] = {}
    if benchmark.is_judged:
        verdicts = read_verdicts(
            path,
            saved.manifest,
            answers,
            answer_span=rules.span.value,
            unknown_test=benchmark.rules.name,
        )
    if benchmark.write_official is not None:
        folder = output_dir / OFFICIAL / saved.policy
        folder.mkdir(parents=True, exist_ok=True)
        benchmark.write_official(folder, benchmark.questions, answers, verdicts)
    if not benchmark.is_judged:
        return _Policy(saved=saved, answers=answers)
    if (reason := not_judged(path, answers, verdicts)) is not None:
        logger.warning("%s", reason)
        return None
    return _Policy(
        saved=saved,
        answers=answers,
        verdicts=[_verdict_of(question.id, verdicts) for question in benchmark.questions],
        judge=read_manifest(path)["judge"] if path.exists() else None,
    )


def _verdict_of(id: str, verdicts: Mapping[str, JudgedAnswer]) -> JudgeVerdict:
    """A sample without an answer is wrong."""
    return verdicts[id].verdict if id in verdicts else JudgeVerdict.hallucination


def _scores(benchmark: QuestionBenchmark, policy: _Policy, rules: Rules) -> list[ScoredSample]:
    if not benchmark.is_judged:
        return metric_scores(benchmark, policy.answers, official_missing=rules.official_missing)
    places = _counted(benchmark, policy, rules)
    counted = benchmark.rules.count(*_judged(benchmark, policy, places))
    return verdict_scores(benchmark, dict(zip(places, counted, strict=True)))


def _results(
    benchmark: QuestionBenchmark,
    policies: Sequence[_Policy],
    samples: Mapping[str, Sequence[ScoredSample]],
    rules: Rules,
) -> dict[str, Any]:
    figures = {
        one.saved.policy: _policy_figures(benchmark, one, samples[one.saved.policy], rules)
        for one in policies
    }
    return {
        "benchmark": benchmark.identity(),
        "protocol": _protocol(benchmark, policies, rules),
        "policies": figures,
        "comparisons": paired_differences(
            {name: samples[name] for name in comparable_policies(figures)}
        ),
    }


def _policy_figures(
    benchmark: QuestionBenchmark, policy: _Policy, samples: Sequence[ScoredSample], rules: Rules
) -> dict[str, Any]:
    predictions = policy.saved.predictions
    reasons = Counter(prediction.finish_reason for prediction in predictions.values())
    return {
        "options": policy.saved.manifest["policy"],
        "n": len(samples),
        "num_missing_predictions": len(samples) - len(predictions),
        "num_failed": sum(one.failed is not None for one in predictions.values()),
        "num_empty_answers": sum(not text.strip() for text in policy.answers.values()),
        "metrics": mean_figures(samples),
        "totals": _totals(benchmark, policy, rules),
        "slices": slice_figures(samples),
        **_groups(benchmark, policy, samples, rules),
        "searches": {
            **search_figures(benchmark.questions, predictions),
            **{
                name: total(benchmark.questions, predictions, policy.saved.manifest["policy"]["k"])
                for name, total in benchmark.search_totals.items()
            },
        },
        "finish_reasons": dict(sorted(reasons.items())),
    }


def _totals(benchmark: QuestionBenchmark, policy: _Policy, rules: Rules) -> dict[str, Any]:
    places = _counted(benchmark, policy, rules)
    questions = [benchmark.questions[place] for place in places]
    answers = [policy.answers.get(question.id) for question in questions]
    found = {name: dict(total(questions, answers)) for name, total in benchmark.totals.items()}
    return {**found, **_verdict_totals(benchmark, policy, places)}


def _counted(benchmark: QuestionBenchmark, policy: _Policy, rules: Rules) -> list[int]:
    """Places of the questions that verdicts and totals are about."""
    return [
        place
        for id, place in benchmark.by_id.items()
        if id in policy.answers or not rules.official_missing
    ]


def _verdict_totals(
    benchmark: QuestionBenchmark, policy: _Policy, places: Sequence[int]
) -> dict[str, Any]:
    if not benchmark.is_judged or not places:
        return {}
    judged = _judged(benchmark, policy, places)
    return {name: dict(total(*judged)) for name, total in benchmark.rules.totals.items()}


def _judged(
    benchmark: QuestionBenchmark, policy: _Policy, places: Sequence[int]
) -> tuple[list[AnnotatedQuestion], list[JudgeVerdict]]:
    """The questions at some places, and the verdicts on their answers."""
    questions = [benchmark.questions[place] for place in places]
    return questions, [policy.verdicts[place] for place in places]


def _groups(
    benchmark: QuestionBenchmark,
    policy: _Policy,
    samples: Sequence[ScoredSample],
    rules: Rules,
) -> dict[str, Any]:
    """Each group's figures in the shape of the miniature's: NAME, NAME_interval and n."""
    counted = set(_counted(benchmark, policy, rules))
    groups = {}
    for name, belongs in benchmark.groups.items():
        places = [place for place, question in enumerate(benchmark.questions) if belongs(question)]
        means = mean_figures([samples[place] for place in places])
        group: dict[str, Any] = {"n": max((one["n"] for one in means.values()), default=0)}
        for metric in means or samples[0].scores:
            group[metric] = means[metric]["value"] if means else None
            group[f"{metric}_interval"] = means[metric]["interval"] if means else None
        kept = [place for place in places if place in counted]
        groups[name] = group | _verdict_totals(benchmark, policy, kept)
    return groups


def _protocol(
    benchmark: QuestionBenchmark, policies: Sequence[_Policy], rules: Rules
) -> dict[str, Any]:
    """What a reader must know of how the scores come about."""
    clusters = "conversation" if benchmark.has_conversations else "image, or question without one"
    return {
        "answer_span": rules.span.value,
        "missing_predictions": (
            "left out (official_missing)" if rules.official_missing else "count as wrong"
        ),
        "intervals": f"95 % percentile bootstrap, {RESAMPLES} draws, seed 0, clustered by "
        f"{clusters}",
        **benchmark.protocol,
        **({"judge": _judge_of(policies)} if benchmark.is_judged else {}),
        "run": policies[0].saved.manifest["run"],
    }


def _judge_of(policies: Sequence[_Policy]) -> Mapping[str, Any] | None:
    """The one judge of all policies.

    Raises:
        ValueError: there are two, whose verdicts may not stand in one table.
    """
    judges = [policy for policy in policies if policy.judge is not None]
    for policy in judges:
        if policy.judge != judges[0].judge:
            raise ValueError(
                f"the answers of {policy.saved.policy} and {judges[0].saved.policy} have different "
                "judges: move the verdicts of one away and run scripts/judge.py for it"
            )
    return judges[0].judge if judges else None
