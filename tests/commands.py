"""The project's scripts, called as users call them."""

import contextlib
import io
import logging
import os
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra

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


def run_script_here(name: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, in a quarter of the time. For what ends before any work begins."""
    command = [f"scripts/{name}.py", *overrides]
    arguments, path, root = sys.argv, list(sys.path), logging.getLogger()
    handlers, level, environment = list(root.handlers), root.level, dict(os.environ)
    output, errors, code = io.StringIO(), io.StringIO(), 0
    try:
        sys.argv, sys.path[:0] = command, [str(ROOT / "scripts")]
        with contextlib.chdir(ROOT), redirect_stdout(output), redirect_stderr(errors):
            runpy.run_path(command[0], run_name="__main__")
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        GlobalHydra.instance().clear()
        sys.argv, sys.path[:] = arguments, path
        root.handlers[:], root.level = handlers, level
        os.environ.clear()
        os.environ.update(environment)
    return subprocess.CompletedProcess(command, code, output.getvalue(), errors.getvalue())


def run_demo(folder: Path) -> subprocess.CompletedProcess[str]:
    """The main job in its smallest form."""
    return run_script("demo", "preset=smoke", f"output_dir={folder}", "miniature.seed=3")
