"""Runs on a SLURM cluster, as far as one machine can stand for it."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore

from pixsearch.config import TrainOptions
from pixsearch.training import fit
from tests.training import runs
from tests.training.runs import REPOSITORY, metrics, tiny_options, write_options

WITH_SUBMITIT = pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None, reason="make setup EXTRAS=cpu,dev,slurm"
)
SCONTROL = "echo 127.0.0.1"
SRUN = """shift
for node in $(seq 0 $((SLURM_NNODES - 1))); do SLURM_PROCID=$node "$@" & done
wait"""
ACCELERATE = (
    '{python} -m accelerate.commands.launch "${{@:2:$#-3}}" -m tests.training.runs "${{!#}}"'
)


def command(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def two_of(one: TrainOptions) -> TrainOptions:
    """The same run, cut for two processes."""
    output_dir = str(Path(one.run.output_dir).with_name("two"))
    return replace(
        one,
        stage=replace(one.stage, batch_size=1, accumulation=2),
        run=replace(one.run, output_dir=output_dir),
    )


@pytest.mark.slow
def test_the_batch_script_starts_one_run_on_two_nodes(tmp_path: Path) -> None:
    """srun and scontrol are stood in for; the launchers of both nodes run here."""
    one = tiny_options(tmp_path, batch_size=4, steps=2)
    two = two_of(one)
    fit(one)
    command(tmp_path, "scontrol", SCONTROL)
    command(tmp_path, "srun", SRUN)
    command(tmp_path, "accelerate", ACCELERATE.format(python=sys.executable))
    cluster = {"SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_GPUS_ON_NODE": "1"}
    done = subprocess.run(
        ["bash", "scripts/train.sbatch", "fsdp2", str(write_options(two))],
        cwd=REPOSITORY,
        env=os.environ
        | cluster
        | {"SLURM_JOB_ID": str(os.getpid()), "ACCELERATE_USE_CPU": "true"}
        | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    for alone, together in zip(metrics(one), metrics(two), strict=True):
        assert together == pytest.approx(alone, abs=1e-6, rel=1e-5)


@WITH_SUBMITIT
def test_the_launcher_composes() -> None:
    ConfigStore.instance().store(name="options", node=TrainOptions)
    with initialize_config_dir(str(REPOSITORY / "configs"), version_base="1.3"):
        composed = compose("train", ["hydra/launcher=slurm"], return_hydra_config=True)
    launcher = composed.hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert launcher.tasks_per_node == launcher.gpus_per_node == 8


@WITH_SUBMITIT
@pytest.mark.slow
def test_tasks_of_a_job_are_the_processes_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import submitit

    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    one = tiny_options(tmp_path, batch_size=4, steps=2)
    two = two_of(one)
    fit(one)
    executor = submitit.AutoExecutor(tmp_path / "jobs", cluster="local")
    executor.update_parameters(tasks_per_node=2, timeout_min=5)
    executor.submit(runs.main, str(write_options(two))).results()
    for alone, together in zip(metrics(one), metrics(two), strict=True):
        assert together == pytest.approx(alone, abs=1e-6, rel=1e-5)
