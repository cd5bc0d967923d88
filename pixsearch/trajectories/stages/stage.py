"""What a stage is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pixsearch.config import BuildStage
from pixsearch.trajectories.teacher.tasks import Task
from pixsearch.trajectories.tools import Job, Tools

Work = Callable[[Job, Tools], dict[str, Any]]
Prepare = Callable[[Job, Tools], Any]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage over the questions that the stages before it kept.

    Attributes:
        work: a question's plain value; in several threads. Raises `Unusable` for quarantine.
        settings: options (fields of `BuildTrajectoriesOptions`) that decide the values.
        tasks: whose prompts decide them.
        prepare: what only one thread may do, before `work`; what it returns is `Job.prepared`. It
            sees one question at a time, so that a run that goes on finds what the first would have:
            the last bits of a score, by which ties are broken, hang on what else is in a batch.
        finds_masks: whether the source of masks decides the values.
        asks_source: whether the knowledge source decides the values.
    """

    name: BuildStage
    work: Work
    settings: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = ()
    prepare: Prepare | None = None
    finds_masks: bool = False
    asks_source: bool = False
