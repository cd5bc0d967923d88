"""Stage 2 at several mixtures, by the command that users give. Nothing is learned."""

import pytest

from tests.commands import run_script

pytestmark = pytest.mark.slow


def test_mixtures_are_trained_from_one_stage_1_and_compared(tmp_path):
    command = ("experiment=miniature_mix", "preset=smoke", "miniature.seed=3")
    done = run_script("demo", *command, f"output_dir={tmp_path}")
    assert done.returncode == 0, done.stderr[-2000:]
    run = tmp_path / "runs" / "seed3-smoke"
    for name in ("ground", "search", "mixtures/1to9/search", "mixtures/5to9/search"):
        assert (run / name / "final").is_dir()
    table = (run / "mixtures" / "table_mixtures.md").read_text()
    for label in ("stage 1 alone (answers without search)", "1:9", "5:9", "7:9"):
        assert f"| {label} |" in table
    assert "gIoU at 7:9 is at least 0.98 of stage 1's" in table
    assert not (tmp_path / "results.json").exists()  # that of a demo is not written over
