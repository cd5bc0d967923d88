"""A folder of answers to CRAG-MM's questions, in the official format, ready to be judged."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixsearch.config import (
    BenchmarkOptions,
    CragMMProtocol,
    JudgeEndpointOptions,
    JudgeKind,
    JudgeOptions,
    JudgingOptions,
)
from pixsearch.datasets.crag_mm import CragMMQuestion
from pixsearch.datasets.crag_mm_writer import CragMMSession, write_crag_mm
from pixsearch.evaluation import open_benchmark
from pixsearch.evaluation.prediction import Prediction
from pixsearch.evaluation.saved_answers import PREDICTIONS
from pixsearch.evaluation.verdicts import verdicts_path
from pixsearch.line_store import LineStore
from tests.chat_server import Act, Asked
from tests.trajectories.toys import patient_not

Answers = Mapping[str, str | None]  # None: the sample failed


def write_questions(
    root: Path,
    count: int,
    *,
    blank: tuple[int, ...] = (),
    question: str = "Which stone is number {}?",
    reference: str = "stone {}",
) -> None:
    """Question qN has the reference answer `stone N`, or another; those in `blank` have none."""
    labels = {
        "domain": "other",
        "query_category": "simple-knowledge",
        "dynamism": "static",
        "image_quality": "normal",
    }
    sessions = [
        CragMMSession(
            session_id=f"q{number}",
            turns=(
                CragMMQuestion(
                    interaction_id=f"q{number}",
                    question=question.format(number),
                    answer="" if number in blank else reference.format(number),
                    **labels,
                ),
            ),
            image=None,
        )
        for number in range(count)
    ]
    write_crag_mm(sessions, root / "validation.parquet")


def options_of(root: Path, url: str = "", **changes: Any) -> JudgingOptions:
    """Of a run against a server that nobody waits for."""
    endpoint = JudgeEndpointOptions(url=url, model="oracle", concurrency=2, client=patient_not())
    return replace(
        JudgingOptions(
            output_dir=str(root / "output"),
            benchmark=BenchmarkOptions(
                name="crag_mm_single",
                root=str(root),
                protocol=CragMMProtocol.paper,
                tokenizer="none",
            ),
            judge=JudgeOptions(endpoint=endpoint),
            verdict_cache=str(root / "cache"),
        ),
        **changes,
    )


def rules(**changes: Any) -> JudgeOptions:
    return JudgeOptions(kind=JudgeKind.rules, **changes)


def save(options: JudgingOptions, policy: str, answers: Answers, *, run: Any = None) -> None:
    """Write a policy's answers; `run` is that of another benchmark or checkpoint."""
    benchmark = open_benchmark(options.benchmark)
    path = Path(options.output_dir) / PREDICTIONS / f"{policy}.jsonl"
    manifest = {"run": run or {"benchmark": benchmark.identity()}, "policy": {"name": policy}}
    store = LineStore(path, id_field="interaction_id", manifest=manifest)
    store.drop(lambda line: line["interaction_id"] in answers)
    for id, answer in answers.items():
        store.append(_line(id, answer).to_json())


def _line(id: str, answer: str | None) -> Prediction:
    return Prediction(
        interaction_id=id,
        image_id=None,
        question="",
        answer=answer or "",
        all_text=answer or "",
        gold="",
        verdict="",
        queries=(),
        grounded=(),
        token_counts={},
        finish_reason="end",
        unavailable=0,
        seconds=0.1,
        failed="no image" if answer is None else None,
    )


def lines_of(options: JudgingOptions, policy: str = "full", *, second: bool = False) -> dict:
    """The verdicts of a policy by sample id; each id once."""
    path = verdicts_path(Path(options.output_dir), policy, second=second)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    found = {line["id"]: line for line in lines}
    assert len(found) == len(lines)
    return found


def verdicts_of(options: JudgingOptions, policy: str = "full", **which: bool) -> dict[str, str]:
    lines = lines_of(options, policy, **which)
    return {id: line["verdict"] for id, line in sorted(lines.items())}


def oracle(asked: Asked) -> Act:
    """Right is what holds the reference's number."""
    number = asked.fields["reference"].split()[-1]
    is_right = number in asked.fields["answer"].split()
    return ruling("correct" if is_right else "wrong")


def ruling(verdict: str) -> Act:
    return Act(text=json.dumps({"reason": "so it is", "verdict": verdict}))
