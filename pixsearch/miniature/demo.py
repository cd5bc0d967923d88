"""The main job as a user would do it: the project's scripts, one after the other.

Each script knows what is done already and goes on from there; nothing here decides that.

    OUTPUT/results.json, predictions/, scores/, report/    of the latest run
    OUTPUT/runs/seed7-default/                     all that one run made
        commands.txt                               what was run, to be run again by hand
        timings.json                               seconds of each step
        world/ index/ ground/ search/ evaluation/
        mixtures/                                  of experiment=miniature_mix, which ends there
"""

import json
import logging
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from pixsearch.config import (
    OF_ONE_POLICY,
    DemoOptions,
    Foundation,
    PolicyOptions,
    PretrainOptions,
)
from pixsearch.datasets.files import read_json
from pixsearch.miniature.mixing import mixture_steps
from pixsearch.miniature.overrides import override, to_overrides
from pixsearch.miniature.planning import check_seed
from pixsearch.miniature.steps import (
    DATASETS,
    SCRIPTS,
    Arguments,
    Step,
    all_named,
    stage_2,
)

logger = logging.getLogger(__name__)

POLICIES = SCRIPTS.parent / "configs" / "policy"
PUBLISHED = ("results.json", "predictions", "scores", "report")


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
    if not options.mixtures:
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
    common = Arguments.of(options)
    begun = [*_pretrain(options), *_until_stage_1(options, common)]
    if options.mixtures:
        return [*begun, *mixture_steps(options, common)]
    runs = {stage: f"{options.paths.miniature}/{stage}" for stage in ("ground", "search")}
    evaluate = ["-m", f"policy={','.join(options.policies)}", *common.scored]
    training = [override(f"training.{name}", run) for name, run in runs.items()]
    report = ["policy=full", *common.scored, *training]
    return [
        *begun,
        stage_2(options.search, common),
        Step(name="evaluation", script="evaluate.py", arguments=evaluate),
        Step(name="report", script="report.py", arguments=report),
    ]


def _until_stage_1(options: DemoOptions, common: Arguments) -> list[Step]:
    indexes = ["-m", "retrieval=miniature,miniature_train", *common.paths, *common.retrieval]
    ground = ["stage=ground", *common.train, *to_overrides("stage", all_named(options.ground))]
    trajectories = [*common.paths, *common.world, *common.retrieval, *common.policy]
    return [
        Step(name="world", script="build_world.py", arguments=[*common.paths, *common.world]),
        Step(name="indexes", script="build_index.py", arguments=indexes),
        Step(
            name="trajectories",
            script="build_miniature_trajectories.py",
            arguments=trajectories,
        ),
        Step(name="stage 1: ground", script="train.py", arguments=ground),
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
