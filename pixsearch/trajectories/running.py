"""Runs a stage over the questions that have no line of it yet."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pixsearch.config import BuildStage, OnError
from pixsearch.endpoint.threads import in_threads
from pixsearch.line_store import LineStore
from pixsearch.trajectories.chosen import Chosen
from pixsearch.trajectories.held_out import Unblocked
from pixsearch.trajectories.quarantine import MENDED_ELSEWHERE, Unusable
from pixsearch.trajectories.sources import BrokenRecord, SourcedQuestion, content_digest
from pixsearch.trajectories.stage_lines import (
    ID,
    Outcome,
    StageLines,
    kept_line,
    quarantined_line,
)
from pixsearch.trajectories.stages import STAGES
from pixsearch.trajectories.stages.stage import Stage
from pixsearch.trajectories.tools import Job, Tools, Values

logger = logging.getLogger(__name__)

VERSION = 2  # of what lines mean
FOLDER = "stages"
Records = Iterable[SourcedQuestion | BrokenRecord]
Done = dict[BuildStage, StageLines]


def run_stages(records: Unblocked, tools: Tools, folder: Path) -> Done:
    """Run every stage up to `options.until`; each goes on where it was.

    Lines that other options, prompts, or another teacher or index made are set aside
    (`pixsearch.line_store`); what the teacher answered is in its cache all the same.

    Args:
        records: all are gone through by the first stage alone; each later one sees what the stage
            before it kept.

    Raises:
        ValueError: a question has changed since it was selected, or, under
            `on_error=raise`, is of no use.
        EndpointUnavailable, SearchFailed: nobody answers; run again, it goes on.
    """
    done: Done = {}
    chosen = Chosen()
    for stage in STAGES:
        asked = records.at(chosen.rows()) if done else chosen.noting(records)
        done[stage.name] = _run_stage(stage, asked, tools, folder / FOLDER, done)
        chosen.keep(done[stage.name])
        if stage.name == tools.options.until:
            break
    return done


def stage_path(folder: Path, stage: BuildStage) -> Path:
    """Of a stage's lines."""
    names = [each.name for each in STAGES]
    return folder / f"{names.index(stage) + 1}_{stage}.jsonl"


def _run_stage(
    stage: Stage, records: Records, tools: Tools, folder: Path, done: Done
) -> StageLines:
    path = stage_path(folder, stage.name)
    store = LineStore(path, id_field=ID, manifest=_manifest(stage, tools))
    path.touch()
    if tools.options.retry_quarantined:
        store.drop(lambda line: line.get("reason") in MENDED_ELSEWHERE)
    with tqdm(desc=stage.name, unit=" questions") as progress:
        for line in _lines(stage, _todo(records, store, done), tools):
            store.append(line)
            progress.update()
    lines = StageLines(path)
    counts = ", ".join(f"{lines.count(each)} {each}" for each in Outcome if lines.count(each))
    logger.info("%s: %s", path, counts or "no question")
    return lines


def values_of(asked: SourcedQuestion, done: Mapping[BuildStage, StageLines]) -> Values:
    """What the stages found out about a question that they kept.

    Raises:
        ValueError: the question is another than the one that was selected.
    """
    values = {name: lines.line(asked.key)["value"] for name, lines in done.items()}
    selected = values.get(BuildStage.select)
    if selected is not None and selected["digest"] != content_digest(asked.question):
        raise ValueError(
            f"question {asked.key} has changed since it was selected: give another output_dir, or "
            "restore its source"
        )
    return values


def _todo(records: Records, store: LineStore, done: Done) -> Iterator[Job | BrokenRecord]:
    for record in records:
        if record.key in store.done:
            continue
        if isinstance(record, BrokenRecord):
            yield record
        else:
            yield Job(asked=record, values=values_of(record, done))


def _lines(
    stage: Stage, todo: Iterator[Job | BrokenRecord], tools: Tools
) -> Iterator[dict[str, Any]]:
    """Lines in the order in which they are ready."""
    return in_threads(
        lambda job: _line(stage, job, tools),
        _prepared(stage, todo, tools),
        workers=tools.options.teacher.concurrency,
    )


def _prepared(
    stage: Stage, todo: Iterator[Job | BrokenRecord], tools: Tools
) -> Iterator[Job | BrokenRecord]:
    """Jobs with what is made for them in this thread."""
    for job in todo:
        if stage.prepare is None or isinstance(job, BrokenRecord):
            yield job
            continue
        try:
            yield replace(job, prepared=stage.prepare(job, tools))
        except Unusable as unusable:
            yield replace(job, prepared=unusable)


def _line(stage: Stage, job: Job | BrokenRecord, tools: Tools) -> dict[str, Any]:
    """What the stage makes of a question.

    Raises:
        ValueError: it is of no use, and on_error=raise.
    """
    if isinstance(job, BrokenRecord):
        unusable, key = Unusable(job.reason, job.detail), job.key
    else:
        key = job.asked.key
        try:
            if isinstance(job.prepared, Unusable):
                raise job.prepared
            return kept_line(key, stage.work(job, tools))
        except Unusable as error:
            unusable = error
    if tools.options.on_error == OnError["raise"]:
        raise ValueError(f"{key}: {unusable}; on_error=quarantine leaves it out")
    return quarantined_line(key, unusable.reason, unusable.detail)


def _manifest(stage: Stage, tools: Tools) -> dict[str, Any]:
    """All that decides the lines of a stage: its own, and what decided those before it."""
    before = STAGES[: STAGES.index(stage) + 1]
    return {
        "run": {"version": VERSION},
        "stages": [_described(each, tools) for each in before],
    }


def _described(stage: Stage, tools: Tools) -> dict[str, Any]:
    described: dict[str, Any] = {"name": str(stage.name)}
    described |= {name: tools.settings[name] for name in stage.settings}
    if stage.tasks:
        described["teacher"] = tools.teacher_identity
        described["prompts"] = [tools.prompt_versions[task] for task in stage.tasks]
    if stage.finds_masks:
        described["masks"] = tools.masks_identity
    if stage.asks_source:
        described["source"] = tools.source_identity
    return described
