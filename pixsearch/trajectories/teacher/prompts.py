"""The prompts of the teacher's tasks: a file for each task and version."""

from pathlib import Path

from pixsearch.endpoint.prompts import Prompt, read_prompt
from pixsearch.trajectories.teacher.tasks import Task

FOLDER = Path(__file__).resolve().parents[1] / "prompts"
VERSIONS: dict[Task, int] = dict.fromkeys(Task, 1)


def read_prompts(folder: str | None = None) -> dict[Task, Prompt]:
    """The prompt of every task, from the project's folder or another.

    Raises:
        ValueError: one is missing.
    """
    names = {task: f"{task}_v{VERSIONS[task]}.md" for task in Task}
    own = Path(folder) if folder else FOLDER
    return {task: read_prompt(own / name, example=FOLDER / name) for task, name in names.items()}
