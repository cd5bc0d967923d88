import json
from pathlib import Path

import pytest

from pixsearch.config import RunOptions, WandbMode
from pixsearch.training.metrics import MetricsFile, WandbLog


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_lines_after_the_checkpoint_are_dropped_when_a_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    killed = MetricsFile(path, last_step=0)
    for step in range(1, 6):
        killed.write(step, {"loss": 1.0})
    killed.close()
    with path.open("a") as file:
        file.write('{"step": 6, "lo')  # what SIGKILL leaves
    resumed = MetricsFile(path, last_step=3)
    resumed.write(4, {"loss": 0.5})
    resumed.close()
    assert steps(path) == [1, 2, 3, 4]


def test_a_new_run_begins_with_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n')
    MetricsFile(path, last_step=0).close()
    assert steps(path) == []


def test_wandb_is_left_alone_by_default(tmp_path: Path) -> None:
    log = WandbLog(RunOptions(output_dir=str(tmp_path)), "ground", {})
    log.write(1, {"loss": 1.0}, prefix="train")
    log.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # wandb's own
def test_wandb_offline_goes_on_with_the_same_run(tmp_path: Path) -> None:
    options = RunOptions(output_dir=str(tmp_path), wandb=WandbMode.offline)
    for step in (1, 2):
        log = WandbLog(options, "ground", {"stage": {"name": "ground"}})
        log.write(step, {"loss": 1.0}, prefix="train")
        log.close()
    written = list((tmp_path / "wandb").glob("offline-run-*"))
    assert {path.name.rsplit("-", 1)[1] for path in written} == {
        (tmp_path / "wandb-id.txt").read_text()
    }
