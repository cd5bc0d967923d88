"""The project's scripts, called as users call them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_script(name: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/NAME.py from the repository's root; its exit code is the caller's to judge."""
    return subprocess.run(
        [sys.executable, f"scripts/{name}.py", *overrides],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def run_demo(folder: Path) -> subprocess.CompletedProcess[str]:
    """The main job in its smallest form."""
    return run_script("demo", "preset=smoke", f"output_dir={folder}", "miniature.seed=3")
