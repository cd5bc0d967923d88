"""Judges what an output folder holds, a separate step that may be killed and gone on with.

- OUTPUT/verdicts/POLICY.jsonl: a verdict per answer (pixsearch/evaluation/verdicts.py);
- OUTPUT/verdicts/POLICY.second.jsonl: those of a second judge;
- OUTPUT/verdicts/agreement.json: how far the two agree.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from pixsearch.config import JudgingOptions
from pixsearch.evaluation.benchmarks import open_benchmark
from pixsearch.evaluation.judging.agreement import write_agreement
from pixsearch.evaluation.judging.cases import Case, PolicyCases, read_cases
from pixsearch.evaluation.judging.judge import Judge, Ruling, without_judge
from pixsearch.evaluation.judging.judges import open_judge
from pixsearch.evaluation.judging.kept import KeptJudge
from pixsearch.evaluation.verdicts import (
    VERDICTS,
    JudgedAnswer,
    JudgeVerdict,
    answer_key,
    verdicts_manifest,
    verdicts_path,
)
from pixsearch.line_store import LineStore, one_writer, read_lines

logger = logging.getLogger(__name__)

Counts = dict[str, Counter[JudgeVerdict]]
"""By policy."""


def judge_predictions(options: JudgingOptions) -> Counts:
    """Give a verdict on each answer that has none; returns the first judge's verdicts, counted.

    Raises:
        ValueError: there are no predictions, they are of another run or benchmark, the benchmark
            needs no judge, or a judge cannot be opened.
        EndpointUnavailable: nobody answers at the judge's endpoint; nothing is lost, run again.
    """
    output_dir, benchmark = Path(options.output_dir), open_benchmark(options.benchmark)
    policies = _chosen(list(read_cases(output_dir, benchmark, options.answer)), options.policies)
    with ExitStack() as held:
        held.enter_context(one_writer(output_dir / VERDICTS))
        cache = Path(options.verdict_cache)
        first, *second = [held.enter_context(KeptJudge(one, cache)) for one in _judges(options)]
        counts = {one.policy: _judge(one, first, output_dir, options) for one in policies}
        for judge in second:
            for one in policies:
                _judge(one, judge, output_dir, options, is_second=True)
            write_agreement(output_dir, policies)
    return counts


def _judges(options: JudgingOptions) -> list[Judge]:
    """One or two.

    Raises:
        ValueError: they are the same.
    """
    judges = [open_judge(one) for one in (options.judge, options.second_judge) if one is not None]
    if len(judges) == 2 and judges[0].identity == judges[1].identity:
        raise ValueError("second_judge is the same as judge: choose another model or prompt")
    return judges


def _chosen(policies: Sequence[PolicyCases], names: Sequence[str]) -> list[PolicyCases]:
    """Those of these names, all if there are none.

    Raises:
        ValueError: nothing was predicted under a name.
    """
    there = [one.policy for one in policies]
    if unknown := sorted(set(names) - set(there)):
        raise ValueError(
            f"policies: nothing was predicted under {', '.join(unknown)}; there are: "
            f"{', '.join(there)}"
        )
    return [one for one in policies if not names or one.policy in names]


def _judge(
    policy: PolicyCases,
    judge: KeptJudge,
    output_dir: Path,
    options: JudgingOptions,
    *,
    is_second: bool = False,
) -> Counter[JudgeVerdict]:
    """One policy by one judge."""
    path = verdicts_path(output_dir, policy.policy, second=is_second)
    manifest = verdicts_manifest(
        policy.manifest,
        judge.identity,
        answer_span=options.answer.value,
        unknown_test=policy.unknown_test,
    )
    store = LineStore(path, id_field="id", manifest=manifest)
    path.touch()
    kept = {case.id: answer_key(case.answer) for case in policy.cases}
    unscored = JudgeVerdict.unscored.value if options.retry_unscored else None
    store.drop(
        lambda line: kept.get(line["id"]) != line.get("answer") or line.get("verdict") == unscored
    )
    todo = [case for case in policy.cases if case.id not in store.done]
    with tqdm(total=len(todo), desc=f"{policy.policy} by {judge.name}", disable=not todo) as bar:
        for case, ruling in _rulings(todo, policy, judge):
            store.append(_line(case, ruling).to_json())
            bar.update()
    return _count(path, judge)


def _rulings(
    todo: Sequence[Case], policy: PolicyCases, judge: KeptJudge
) -> Iterator[tuple[Case, Ruling]]:
    """What needs no judge first."""
    asked = []
    for case in todo:
        settled = without_judge(case, policy.says_unknown) or _without_reference(case, judge)
        if settled is not None:
            yield case, settled
        else:
            asked.append(case)
    yield from judge.rule(asked)


def _without_reference(case: Case, judge: KeptJudge) -> Ruling | None:
    if case.references:
        return None
    reason = "the benchmark has no reference answer to compare with"
    return Ruling(verdict=JudgeVerdict.unscored, by=judge.name, reason=reason)


def _line(case: Case, ruling: Ruling) -> JudgedAnswer:
    return JudgedAnswer(
        id=case.id,
        verdict=ruling.verdict,
        by=ruling.by,
        answer=answer_key(case.answer),
        reason=ruling.reason,
    )


def _count(path: Path, judge: KeptJudge) -> Counter[JudgeVerdict]:
    """Of all verdicts in a file; said in the log."""
    verdicts = Counter(JudgeVerdict(line["verdict"]) for line in read_lines(path, id_field="id"))
    said = ", ".join(f"{verdicts[each]} {each}" for each in JudgeVerdict)
    remedy = "; retry_unscored=true asks again" if verdicts[JudgeVerdict.unscored] else ""
    logger.info("%s, by %s: %s%s", path, judge.name, said, remedy)
    return verdicts
