"""lmms-eval itself runs a task by `--model pixsearch`: offline, with a tiny checkpoint.

Its own environment (its pins are not ours):

    python -m venv ENV && ENV/bin/pip install -e '.[cpu,dev,lmms-eval]'
    ENV/bin/python -m pytest tests/evaluation/test_lmms_eval.py
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf
from PIL import Image

from pixsearch.config import (
    BenchmarkOptions,
    EvaluateOptions,
    ForcedFirst,
    GenerationOptions,
    PolicyOptions,
    to_dict,
)
from tests.evaluation.question_worlds import tiny_retrieval
from tests.tiny import tiny_model_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("lmms_eval") is None,
        reason="lmms-eval is not installed: pip install -e '.[cpu,dev,lmms-eval]'",
    ),
]
ROOT = Path(__file__).parents[2]
TASK = Path(__file__).parent / "lmms_eval_task"
QUESTIONS = ("Who made this?", "What is it?", "How many lamps are there?")


def write_task(folder: Path) -> None:
    """Copy the task; its rows are two questions with an image and one without."""
    shutil.copytree(TASK, folder)
    buffer = BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 30)).save(buffer, format="PNG")
    image = {"bytes": buffer.getvalue(), "path": None}
    rows = [
        {"question": question, "answer": "Osmeth", "image": None if "lamps" in question else image}
        for question in QUESTIONS
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    task = folder / "toy_search.yaml"
    task.write_text(task.read_text().replace("DATA_FILE", str(folder / "rows.parquet")))


def write_options(root: Path) -> Path:
    """A checkpoint, an index, and the file that names them."""
    options = EvaluateOptions(
        checkpoint=str(tiny_model_folder(root / "checkpoint")),
        output_dir=str(root / "output"),
        benchmark=BenchmarkOptions(name="any", root="any"),
        policy=PolicyOptions(name="whole_image", allow=[], forced_first=ForcedFirst.whole_image),
        generation=GenerationOptions(max_new_tokens=12, answer_tokens=4),
        retrieval=tiny_retrieval(root),
    )
    file = root / "options.yaml"
    OmegaConf.save(OmegaConf.create(to_dict(options)), file)
    return file


def write_entry_points(folder: Path) -> Path:
    """What an installation would write of pyproject.toml."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    info = folder / "pixsearch_here-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pixsearch-here\nVersion: 0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in named.items())
        for group, named in points.items()
    ]
    (info / "entry_points.txt").write_text("".join(lines))
    return folder


def run_task(root: Path, *launcher: str) -> tuple[dict[str, float], int, str]:
    """Scores, number of samples and log of lmms-eval's command; `root/trace.jsonl` is the trace."""
    write_task(root / "task")
    paths = [str(ROOT), str(write_entry_points(root / "site"))]
    if "PYTHONPATH" in os.environ:
        paths.append(os.environ["PYTHONPATH"])
    command = [
        sys.executable, *launcher, "-m", "lmms_eval", "--model", "pixsearch", "--tasks",
        "toy_search", "--model_args", f"options={write_options(root)},trace={root / 'trace.jsonl'}",
        "--include_path", str(root / "task"), "--batch_size", "2", "--log_samples",
        "--output_path", str(root / "results"),
    ]  # fmt: skip
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(root / "hub")}
    done = subprocess.run(
        command,
        cwd=root,
        env=os.environ | offline | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = (root / "results").rglob("*_results.json")
    (samples,) = (root / "results").rglob("*_samples_toy_search.jsonl")
    scores = json.loads(results.read_text())["results"]["toy_search"]
    return scores, len(samples.read_text().splitlines()), done.stdout + done.stderr


def searches_of(trace: Path) -> list[int]:
    """How many there are in each line; none of them failed."""
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    assert all(line["failed"] is None for line in lines)
    return [len(line["searches"]) for line in lines]


def test_its_command_runs_a_task_with_our_engine(tmp_path):
    scores, num_samples, log = run_task(tmp_path)
    assert "pixsearch searches source=index-" in log
    assert scores["any_words,none"] == 1.0, scores
    assert num_samples == 3
    assert searches_of(tmp_path / "trace.jsonl") == [1, 1, 0]


def test_two_processes_share_a_task(tmp_path):
    """The second has one question of three, and is asked it twice so that both have as many."""
    scores, num_samples, _ = run_task(
        tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"
    )
    assert scores["any_words,none"] == 1.0, scores
    assert num_samples == 3
    assert searches_of(tmp_path / "trace.jsonl.part-00") == [1, 0]
    assert searches_of(tmp_path / "trace.jsonl.part-01") == [1, 1]
