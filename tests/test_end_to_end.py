"""The main job in its smallest form, by the command that users give. Nothing is learned."""

import json
import subprocess
from pathlib import Path

from tests.commands import run_script

SHARES = ("accuracy", "missing", "hallucination")


def run_demo(folder: Path) -> subprocess.CompletedProcess[str]:
    return run_script("demo", "preset=smoke", f"output_dir={folder}", "miniature.seed=3")


def test_the_smoke_preset_goes_the_whole_way(tmp_path: Path) -> None:
    finished = run_demo(tmp_path)
    assert finished.returncode == 0, finished.stderr[-2000:]
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["seed"] == 3
    assert set(results["segmentation"]) >= {"giou", "ciou"}
    assert set(results["search_decision"]) >= {"precision", "recall"}
    assert set(results["policies"]) == {"no_search", "whole_image", "full"}
    for scores in results["policies"].values():
        overall = scores["overall"]
        assert abs(sum(overall[share] for share in SHARES) - 1) < 1e-9
    for policy in results["policies"]:
        lines = (tmp_path / "predictions" / f"{policy}.jsonl").read_text().splitlines()
        assert len(lines) >= results["policies"][policy]["overall"]["n"]
    report = (tmp_path / "report" / "index.html").read_text()
    assert "<html" in report
