"""What a stage is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pixsearch.config import BuildStage
from pixsearch.trajectories.teacher.request import Task
from pixsearch.trajectories.tools import Job, Tools

Work = Callable[[Job, Tools], dict[str, Any]]
Together = Callable[[Sequence[Job], Tools], list[Any]]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage over the questions that the stages before it kept.

    Attributes:
        work: a question's plain value; in several threads. Raises `Unusable` for quarantine.
        settings: options (fields of `BuildTrajectoriesOptions`) that decide the values.
        tasks: whose prompts decide them.
        together: what is better made for several questions at once, in one thread; what it returns
            for a job becomes `Job.prepared`.
        asks_source: whether the knowledge source decides the values.
    """

    name: BuildStage
    work: Work
    settings: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = ()
    together: Together | None = None
    asks_source: bool = False
