"""The prompts: our own words, a file for each task and version.

A changed prompt gets a new file and a new number here, so that a cache or a folder never mixes two.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pixsearch.trajectories.teacher.request import Task

FOLDER = Path(__file__).resolve().parents[1] / "prompts"
VERSIONS: dict[Task, int] = dict.fromkeys(Task, 1)


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is said to the teacher before the fields of a request.

    Attributes:
        version: `select_v1`, and the beginning of the sha256 of its words.
    """

    text: str
    version: str


def read_prompts(folder: str | None = None) -> dict[Task, Prompt]:
    """The prompt of every task, from the project's folder or another.

    Raises:
        ValueError: one is missing.
    """
    return {task: _read(Path(folder) if folder else FOLDER, task) for task in Task}


def _read(folder: Path, task: Task) -> Prompt:
    name = f"{task}_v{VERSIONS[task]}"
    path = folder / f"{name}.md"
    if not path.is_file():
        raise ValueError(f"{path}: no such prompt; copy {FOLDER / path.name} there and change it")
    text = path.read_text(encoding="utf-8").strip()
    return Prompt(text=text, version=f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}")
