"""The main job as a user would do it: the project's scripts, one after the other.

Each script knows what is done already and goes on from there; nothing here decides that.

    OUTPUT/results.json, predictions/, scores/, report/    of the latest run
    OUTPUT/runs/seed7-default/                     all that one run made
        commands.txt                               what was run, to be run again by hand
        timings.json                               seconds of each step
        world/ index/ ground/ search/ evaluation/
"""

import json
import logging
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixsearch.config import (
    OF_ONE_POLICY,
    DemoOptions,
    Foundation,
    PolicyOptions,
    PretrainOptions,
    StageOptions,
)
from pixsearch.datasets.files import read_json
from pixsearch.miniature.overrides import to_overrides
from pixsearch.miniature.planning import check_seed

logger = logging.getLogger(__name__)

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
POLICIES = SCRIPTS.parent / "configs" / "policy"
PUBLISHED = ("results.json", "predictions", "scores", "report")
OF_ONE_KNOWLEDGE_BASE = ("knowledge_base", "index")
DATASETS = ("refcoco", "llava", "trajectories")  # those of configs/data/miniature.yaml


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call of a script."""

    name: str
    script: str
    arguments: Sequence[str]

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(SCRIPTS / self.script), *self.arguments]


def run_demo(options: DemoOptions) -> int:
    """Run every step, then put the results where the README says.

    Returns:
        0, or the exit code of the step that failed; its own message says why.
    """
    folder = Path(options.paths.miniature)
    folder.mkdir(parents=True, exist_ok=True)
    steps = plan(options)
    (folder / "commands.txt").write_text("".join(f"{shlex.join(s.command)}\n" for s in steps))
    timings = Timings(folder / "timings.json")
    for number, step in enumerate(steps, 1):
        logger.info("[%d/%d] %s", number, len(steps), step.name)
        timings.write_total(folder / "evaluation" / "runtime.json")
        if (code := run_timed(step, timings)) != 0:
            return code
    publish(folder / "evaluation", Path(options.output_dir))
    return 0


def run_timed(step: Step, timings: "Timings") -> int:
    """Run a step; its time counts whatever ends it, an interrupt too."""
    started, code = time.monotonic(), None
    try:
        code = subprocess.run(step.command, check=False).returncode
    finally:
        timings.add(step.name, time.monotonic() - started, finished=code == 0)
    return code


def plan(options: DemoOptions) -> list[Step]:
    """The steps, in order, with every option that they take from the demo.

    Raises:
        ValueError: an option that no step would take was changed.
    """
    _refuse_dropped(options)
    _refuse_unknown(options)
    check_seed(options.miniature.seed)
    paths = to_overrides("paths", options.paths)
    world = to_overrides("miniature", options.miniature)
    retrieval = to_overrides("retrieval", options.retrieval, but=OF_ONE_KNOWLEDGE_BASE)
    policy = to_overrides("policy", options.policy, but=OF_ONE_POLICY)
    train = [
        "experiment=miniature",
        *paths,
        *to_overrides("model", options.model),
        *to_overrides("run", options.run, but=("output_dir",)),
        *retrieval,
    ]
    scored = [
        "benchmark=miniature",
        f"answer={options.answer}",
        *paths,
        *to_overrides("benchmark", options.benchmark),
        *to_overrides("generation", options.generation),
        *retrieval,
        *policy,
    ]
    runs = {stage: f"{options.paths.miniature}/{stage}" for stage in ("ground", "search")}
    evaluate = ["-m", f"policy={','.join(options.policies)}", *scored]
    report = ["policy=full", *scored, *(f"training.{name}={run}" for name, run in runs.items())]
    indexes = ["-m", "retrieval=miniature,miniature_train", *paths, *retrieval]
    ground = ["stage=ground", *train, *to_overrides("stage", _all_named(options.ground))]
    search = ["stage=search", *train, *to_overrides("stage", _all_named(options.search))]
    return [
        *_pretrain(options),
        Step(name="world", script="build_world.py", arguments=[*paths, *world]),
        Step(name="indexes", script="build_index.py", arguments=indexes),
        Step(
            name="trajectories",
            script="build_miniature_trajectories.py",
            arguments=[*paths, *world, *retrieval, *policy],
        ),
        Step(name="stage 1: ground", script="train.py", arguments=ground),
        Step(name="stage 2: search", script="train.py", arguments=search),
        Step(name="evaluation", script="evaluate.py", arguments=evaluate),
        Step(name="report", script="report.py", arguments=report),
    ]


def _refuse_dropped(options: DemoOptions) -> None:
    """What each policy, knowledge base or folder of the run decides itself cannot be changed."""
    world = f"{options.paths.miniature}/world"
    own = {f"policy.{name}": getattr(PolicyOptions(), name) for name in OF_ONE_POLICY} | {
        "retrieval.knowledge_base": f"{world}/knowledge_base",
        "retrieval.index": f"{options.paths.miniature}/index",
        "retrieval.server": None,
        "retrieval.fan_out": [],
        "miniature.root": world,
        "benchmark.root": world,
        "benchmark.name": "crag_mm_miniature",
        "pretrain.output_dir": PretrainOptions().output_dir,
        "run.output_dir": options.paths.miniature,
    }
    for name, value in own.items():
        section, field = name.split(".")
        if getattr(getattr(options, section), field) != value:
            raise ValueError(
                f"{name} is no option of the whole demo: give policies=[…], output_dir=…, or run "
                "the steps in commands.txt one by one"
            )


def _refuse_unknown(options: DemoOptions) -> None:
    """Names that only a later step would look up, after the training before it."""
    known = sorted(path.stem for path in POLICIES.glob("*.yaml"))
    if unknown := set(options.policies).difference(known):
        raise ValueError(f"policies: no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name, stage in (("ground", options.ground), ("search", options.search)):
        if unknown := set(stage.mixture).difference(DATASETS):
            raise ValueError(
                f"{name}.mixture: no {', '.join(sorted(unknown))}; there are {', '.join(DATASETS)}"
            )


def _all_named(stage: StageOptions) -> StageOptions:
    """With weight 0 for what the mixture leaves out, lest the script's own YAML brings it back."""
    return replace(stage, mixture=dict.fromkeys(DATASETS, 0.0) | stage.mixture)


def _pretrain(options: DemoOptions) -> list[Step]:
    if options.foundation is Foundation.committed:
        return []
    lines = to_overrides("pretrain", options.pretrain, but=("output_dir",))
    arguments = [f"output_dir={options.paths.foundation}"]
    arguments += [line.removeprefix("pretrain.") for line in lines]
    return [Step(name="foundation", script="pretrain_miniature.py", arguments=arguments)]


class Timings:
    """Seconds spent in each step up to its first success; what a later run skips costs nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._steps: dict[str, dict[str, Any]] = read_json(path) if path.is_file() else {}

    def add(self, name: str, seconds: float, *, finished: bool) -> None:
        before = self._steps.get(name, {"seconds": 0.0, "finished": False})
        if not before["finished"]:
            seconds = round(before["seconds"] + seconds, 1)
            self._steps[name] = {"seconds": seconds, "finished": finished}
            self._path.write_text(json.dumps(self._steps, indent=2) + "\n")

    def write_total(self, path: Path) -> None:
        """What the results state as their `runtime_seconds`: all steps before the report."""
        seconds = sum(step["seconds"] for name, step in self._steps.items() if name != "report")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"seconds": round(seconds, 1)}) + "\n")


def publish(evaluation: Path, output: Path) -> None:
    """Copy a run's results to `output`, in place of those of the run before."""
    for name in PUBLISHED:
        source, target = evaluation / name, output / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
