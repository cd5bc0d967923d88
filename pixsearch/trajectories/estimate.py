"""What a build would ask of its teacher, and what that would cost: nothing is asked.

Requests of `select` are counted as they would be sent, but for their schema. What the later stages
send is not known before they run; it is estimated from the lengths below, the prompts' own and
`estimate.search_share` and `searches`, of which the first is measured once some questions have been
selected. Answers that are asked for again are not counted.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixsearch.config import BuildStage, BuildTrajectoriesOptions
from pixsearch.endpoint.prompts import Prompt
from pixsearch.endpoint.spending import Usage
from pixsearch.trajectories.checks import has_long_answers
from pixsearch.trajectories.counts import aligned
from pixsearch.trajectories.running import FOLDER, stage_path
from pixsearch.trajectories.sources import BrokenRecord, SourcedQuestion
from pixsearch.trajectories.stage_lines import Outcome, StageLines
from pixsearch.trajectories.stages.select import SCHEMA
from pixsearch.trajectories.teacher.tasks import Task
from pixsearch.trajectories.tools import WITH_IMAGE, Job, request_of

# characters, assumed: of one sub-question, of one segment of a response and of a passage
_SUB_QUESTION, _SEGMENT, _ANSWER, _PASSAGE = 160.0, 110.0, 60.0, 650.0
_STAGE_OF = {
    Task.select: BuildStage.select,
    Task.decompose: BuildStage.decompose,
    Task.respond: BuildStage.respond,
    Task.refine: BuildStage.choose,
    Task.check: BuildStage.choose,
    Task.choose: BuildStage.choose,
    Task.assign: BuildStage.assign,
    Task.judge: BuildStage.retrieve,
}


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The questions that a build has.

    Attributes:
        characters: of their requests, by whether the answers are sent along.
        images: how many have one.
        long_answers: how many have answers that the teacher may have to compare.
    """

    count: int = 0
    characters: dict[bool, int] = field(default_factory=dict)
    images: int = 0
    long_answers: int = 0


def estimate(
    records: Iterable[SourcedQuestion | BrokenRecord],
    options: BuildTrajectoriesOptions,
    prompts: dict[Task, Prompt],
) -> dict[Task, Usage]:
    """Requests and tokens of each task that are still to be paid for."""
    asked, folder = _asked(records, options), Path(options.output_dir) / FOLDER
    share = _share(folder, options)
    usage: dict[Task, Usage] = {}
    for task in Task:
        done = _seen(folder, _STAGE_OF[task])
        part = 1.0 if task is Task.select else share
        times = options.estimate.searches if task is Task.judge else 1.0
        if task is Task.check:
            times = asked.long_answers / max(1, asked.count)
        count = max(0, round((asked.count * part - done) * times))
        usage[task] = _usage(task, count, asked, options, prompts[task])
    return usage


def as_table(usage: dict[Task, Usage], options: BuildTrajectoriesOptions) -> str:
    """A row for each task, and their sum."""
    total = Usage()
    rows = [["task", "requests", "input tokens", "output tokens", "cost"]]
    for task, each in usage.items():
        rows.append(_row(task, each, options))
        total.requests += each.requests
        total.input_tokens += each.input_tokens
        total.output_tokens += each.output_tokens
    return aligned([*rows, _row("all", total, options)], left=1)


def _row(name: str, usage: Usage, options: BuildTrajectoriesOptions) -> list[str]:
    tokens = f"{usage.input_tokens:,}", f"{usage.output_tokens:,}"
    return [name, f"{usage.requests:,}", *tokens, f"{usage.cost(options.teacher):,.2f}"]


def _asked(
    records: Iterable[SourcedQuestion | BrokenRecord], options: BuildTrajectoriesOptions
) -> _Asked:
    count = images = long_answers = 0
    most_words = options.repeated_answer_words
    characters = {True: 0, False: 0}
    for record in records:
        if isinstance(record, SourcedQuestion):
            count += 1
            for with_answers in characters:
                characters[with_answers] += _characters(record, with_answers=with_answers)
            images += record.has_image
            long_answers += has_long_answers(record.question, most_words=most_words)
    return _Asked(count=count, characters=characters, images=images, long_answers=long_answers)


def _characters(record: SourcedQuestion, *, with_answers: bool) -> int:
    job = Job(asked=record, values={})
    request = request_of(job, Task.select, schema=SCHEMA, read=dict, with_answers=with_answers)
    return len(json.dumps(request.fields, ensure_ascii=False, indent=1))


def _share(folder: Path, options: BuildTrajectoriesOptions) -> float:
    """Of questions that need a search: as measured, else as assumed."""
    path = stage_path(folder, BuildStage.select)
    if not path.exists():
        return options.estimate.search_share
    lines = StageLines(path)
    kept = lines.count(Outcome.kept)
    seen = kept + lines.count(Outcome.without_search) + lines.count(Outcome.quarantined)
    return kept / seen if seen else options.estimate.search_share


def _seen(folder: Path, stage: BuildStage) -> int:
    """Questions that have a line of this stage already."""
    path = stage_path(folder, stage)
    if not path.exists():
        return 0
    lines = StageLines(path)
    return sum(lines.count(outcome) for outcome in Outcome)


def _usage(
    task: Task, count: int, asked: _Asked, options: BuildTrajectoriesOptions, prompt: Prompt
) -> Usage:
    if asked.count == 0:
        return Usage()
    sent, answered = _lengths(task, options)
    characters = asked.characters[task is not Task.select]
    sent += len(prompt.text) + characters / asked.count
    images = options.teacher.image_tokens * asked.images / asked.count * (task in WITH_IMAGE)
    per_token = options.estimate.characters_per_token
    return Usage(
        requests=count,
        input_tokens=round(count * (sent / per_token + images)),
        output_tokens=round(count * answered / per_token),
    )


def _lengths(task: Task, options: BuildTrajectoriesOptions) -> tuple[float, float]:
    """Characters sent beside prompt and question, and characters answered."""
    searches, candidates = options.estimate.searches, options.num_candidates
    sub_questions = searches * _SUB_QUESTION
    responses = candidates * (searches * _SEGMENT + _ANSWER)
    texts = options.max_text_queries
    lengths: dict[Task, tuple[float, float]] = {
        Task.select: (0.0, _ANSWER),
        Task.decompose: (0.0, sub_questions),
        Task.respond: (sub_questions, responses),
        Task.refine: (sub_questions + responses, responses),
        Task.check: (candidates * _ANSWER, _ANSWER),
        Task.choose: (sub_questions + responses, 2 * _ANSWER),
        Task.assign: (searches * (_SUB_QUESTION + _SEGMENT), searches * texts * _ANSWER),
        Task.judge: (_SUB_QUESTION + texts * options.policy.k * _PASSAGE, _ANSWER),
    }
    return lengths[task]


def to_json(usage: dict[Task, Usage], options: BuildTrajectoriesOptions) -> dict[str, Any]:
    """The same as plain values."""
    return {str(task): each.to_json(options.teacher) for task, each in usage.items()}
