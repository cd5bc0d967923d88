"""The answers to a benchmark of annotated questions that an output folder holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixsearch.config import AnswerSpan
from pixsearch.evaluation.paper import POLICY_ORDER
from pixsearch.evaluation.parted_lines import (
    check_name,
    manifest_of_parts,
    names_of_lines,
    read_parts,
)
from pixsearch.evaluation.prediction import Prediction
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

PREDICTIONS = "predictions"  # folder of POLICY.jsonl and its parts


@dataclass(frozen=True, kw_only=True)
class PolicyAnswers:
    """All answers under one policy.

    Attributes:
        manifest: of the file: the run and the policy's options.
        predictions: by sample id, those of failed samples among them.
    """

    policy: str
    manifest: Mapping[str, Any]
    predictions: Mapping[str, Prediction]

    def texts(self, benchmark: QuestionBenchmark, span: AnswerSpan) -> dict[str, str]:
        """The text that is scored of each answer by sample id; failed samples have none."""
        given = {
            id: prediction
            for id, prediction in self.predictions.items()
            if prediction.failed is None
        }
        if span is AnswerSpan.after_last_search:
            return {id: prediction.answer for id, prediction in given.items()}
        return {id: benchmark.cut(prediction.all_text) for id, prediction in given.items()}


def read_answers(output_dir: Path, benchmark: QuestionBenchmark) -> list[PolicyAnswers]:
    """Of all policies, in the paper's order, others after them by name.

    Raises:
        ValueError: there are none, or those of another run, benchmark or policy are
            among them.
    """
    folder = output_dir / PREDICTIONS
    names = sorted(names_of_lines(folder), key=_place)
    if not names:
        raise ValueError(f"{folder} has no predictions: set score=after")
    paths = [folder / f"{name}.jsonl" for name in names]
    manifests = [manifest_of_parts(path) for path in paths]
    for path, manifest in zip(paths, manifests, strict=True):
        check_name(path, manifest["policy"]["name"])
        if manifest["run"] != manifests[0]["run"]:
            raise ValueError(f"{path} is of another run than {paths[0]}: move one of them away")
    answered = manifests[0]["run"]["benchmark"]
    if answered != benchmark.identity():
        raise ValueError(
            f"{output_dir} holds answers to {_short(answered)}, not to "
            f"{_short(benchmark.identity())}: evaluate again, or restore that benchmark"
        )
    return [
        PolicyAnswers(policy=name, manifest=manifest, predictions=_read(path, benchmark))
        for name, path, manifest in zip(names, paths, manifests, strict=True)
    ]


def _read(path: Path, benchmark: QuestionBenchmark) -> dict[str, Prediction]:
    found = {}
    for line in read_parts(path, id_field="interaction_id"):
        id = line["interaction_id"]
        if id not in benchmark.by_id:
            raise ValueError(
                f"{path}: {id!r} is no question of {benchmark.name}: predictions of another "
                "benchmark are mixed in"
            )
        found[id] = Prediction.from_json(line)
    return found


def _place(name: str) -> tuple[int, str]:
    is_known = name in POLICY_ORDER
    return (POLICY_ORDER.index(name) if is_known else len(POLICY_ORDER), name)


def _short(identity: Mapping[str, Any]) -> str:
    fields = ("version", "split", "num_samples", "prompt", "preparation")
    said = ", ".join(f"{name} {identity.get(name)}" for name in fields)
    return f"{identity['name']} ({said}, files {identity['fingerprint'][:12]})"
