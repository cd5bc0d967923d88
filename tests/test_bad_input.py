"""What users get wrong, by the commands that they give: one line that names the thing, exit code 2.

Options are in test_configs.py; here are files that do not fit, in a finished run of the miniature.
"""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.commands import run_script

pytestmark = pytest.mark.slow


@pytest.fixture
def run(finished_demo: Path) -> Path:
    """World, index, checkpoints and predictions."""
    return finished_demo / "runs" / "seed3-smoke"


def mistake(script: str, *overrides: str) -> str:
    """What is told on stderr."""
    done = run_script(script, *overrides)
    assert done.returncode == 2, done.stderr[-2000:]
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == told[0]
    return told[0]


def infer(run: Path, **changes: str) -> str:
    options = {
        "checkpoint": f"{run}/search/final",
        "image": f"{run}/world/images/eval-00000.png",
        "question": "'Who made the boat?'",
        "retrieval": "miniature",
        "paths.miniature": str(run),
    } | {name.replace("__", "."): value for name, value in changes.items()}
    return mistake("infer", *(f"{name}={value}" for name, value in options.items()))


def test_an_image_that_is_not_there(run: Path) -> None:
    assert "nowhere.png" in infer(run, image=f"{run}/nowhere.png")


def test_a_file_that_is_no_image(run: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    assert "broken.png" in infer(run, image=str(broken))


def test_an_index_of_another_encoder(run: Path) -> None:
    told = infer(run, retrieval__text_encoder__dimension="512")
    assert "dimension" in told
    assert "build_index.py" in told


def test_a_checkpoint_of_another_model(run: Path) -> None:
    told = infer(run, checkpoint=f"{run}/parts/language_model")
    assert "'llava' model" in told


def test_a_broken_line_of_a_trajectory_file(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "trajectories"
    shutil.copytree(run / "world" / "trajectories", folder, symlinks=False)
    lines = (folder / "train.jsonl").read_text().splitlines()
    broken = [line if place % 2 else line[:-9] for place, line in enumerate(lines)]
    (folder / "train.jsonl").write_text("\n".join(broken) + "\n")
    told = mistake(
        "train",
        "experiment=miniature",
        "stage=search",
        f"paths.miniature={run}",
        f"stage.init_from={run}/ground/final",
        f"data.sources.trajectories.root={folder}",
        f"run.output_dir={tmp_path}/run",
        "stage.steps=2",
    )
    assert re.search(r"train\.jsonl:\d+: not JSON.*mend the line", told)


def test_a_missing_image_of_the_training_data(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "llava"
    folder.mkdir()
    items = json.loads((run / "world" / "llava" / "train.json").read_text())
    (folder / "train.json").write_text(json.dumps(items))
    (folder / "images").mkdir()
    told = mistake(
        "train",
        "experiment=miniature",
        "stage=ground",
        f"paths.miniature={run}",
        f"data.sources.llava.root={folder}",
        f"run.output_dir={tmp_path}/run",
        "stage.mixture.refcoco=0",
        "stage.steps=2",
    )
    assert "train-0" in told
    assert "data/README.md" in told
