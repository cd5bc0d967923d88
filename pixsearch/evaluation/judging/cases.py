"""What is judged: the saved answers of an output folder beside the references of its benchmark."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixsearch.config import AnswerSpan, CragMMProtocol
from pixsearch.evaluation.benchmark import Benchmark
from pixsearch.evaluation.metrics.crag_mm import UNKNOWN_TESTS
from pixsearch.evaluation.policy_scores import in_group
from pixsearch.evaluation.question_benchmark import QuestionBenchmark
from pixsearch.evaluation.saved_answers import read_answers
from pixsearch.evaluation.score import read_saved


@dataclass(frozen=True, kw_only=True)
class Case:
    """One answer to be judged.

    Attributes:
        references: answers that are right, the first one first; none where the benchmark has none.
        cluster: what is drawn together by a bootstrap.
    """

    id: str
    question: str
    references: tuple[str, ...]
    answer: str
    cluster: str


@dataclass(frozen=True, kw_only=True)
class PolicyCases:
    """All answers under one policy.

    Attributes:
        manifest: of the predictions.
        says_unknown, unknown_test: the benchmark's test for "I don't know", and its name.
    """

    policy: str
    manifest: Mapping[str, Any]
    cases: tuple[Case, ...]
    says_unknown: Callable[[str], bool]
    unknown_test: str


def read_cases(
    output_dir: Path, benchmark: Benchmark | QuestionBenchmark, span: AnswerSpan
) -> Iterator[PolicyCases]:
    """Of every policy that was predicted.

    Missing and failed answers are none to be judged: scoring counts them as wrong. Nor are those to
    the miniature's unanswerable questions, which have no verdict.

    Raises:
        ValueError: there are no answers, those of another run or benchmark, or the benchmark is not
            scored by a judge.
    """
    if isinstance(benchmark, Benchmark):
        return _of_miniature(output_dir, benchmark, span)
    if not benchmark.is_judged:
        raise ValueError(
            f"{benchmark.name} is scored by its metrics and needs no judge: scripts/evaluate.py "
            "score=only"
        )
    return _of_questions(output_dir, benchmark, span)


def _of_questions(
    output_dir: Path, benchmark: QuestionBenchmark, span: AnswerSpan
) -> Iterator[PolicyCases]:
    for saved in read_answers(output_dir, benchmark):
        texts = saved.texts(benchmark, span)
        cases = (
            Case(
                id=question.id,
                question=question.question,
                references=tuple(dict.fromkeys(question.answers)),
                answer=texts[question.id],
                cluster=benchmark.cluster(question),
            )
            for question in benchmark.questions
            if question.id in texts
        )
        yield PolicyCases(
            policy=saved.policy,
            manifest=saved.manifest,
            cases=tuple(cases),
            says_unknown=benchmark.rules.says_unknown,
            unknown_test=benchmark.rules.name,
        )


def _of_miniature(
    output_dir: Path, benchmark: Benchmark, span: AnswerSpan
) -> Iterator[PolicyCases]:
    saved = read_saved(output_dir, benchmark)
    test = CragMMProtocol.paper
    for policy, predictions in saved.policies.items():
        cases = (
            Case(
                id=sample.id,
                question=sample.question,
                references=(sample.gold.answer, *sample.gold.aliases),
                answer=predictions[sample.id].scored_text(span),
                cluster=sample.gold.cluster,
            )
            for sample in in_group(benchmark.samples, "overall")
            if sample.id in predictions and predictions[sample.id].failed is None
        )
        yield PolicyCases(
            policy=policy,
            manifest={"run": saved.run, "policy": saved.options[policy]},
            cases=tuple(cases),
            says_unknown=UNKNOWN_TESTS[test],
            unknown_test=test.value,
        )
