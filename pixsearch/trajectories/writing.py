"""The last stage: trajectories, quarantine and counts, from what the other stages wrote.

    OUTPUT/train.jsonl        trajectories, in an order drawn by the seed: the end is kept back in
                              training, and shows all sources
    OUTPUT/images/            their images
    OUTPUT/quarantine.jsonl   {"key", "source", "stage", "reason", "detail"} of what is left out

All of it is a function of the stages' lines, and is written anew each time.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
from jaxtyping import Bool

from pixsearch.chat import Searched, Text
from pixsearch.config import BuildStage, BuildTrajectoriesOptions, OnError
from pixsearch.datasets.evaluated_expressions import Phrases, named_among
from pixsearch.datasets.files import JsonLines
from pixsearch.datasets.leaks import LeakReason
from pixsearch.datasets.trajectories import (
    StoredTrajectory,
    from_json,
    to_json,
    write_trajectories,
)
from pixsearch.trajectories.composed import Composed
from pixsearch.trajectories.composing import with_search, without_search
from pixsearch.trajectories.counts import Counts
from pixsearch.trajectories.held_out import Blocked
from pixsearch.trajectories.images import ImageFolder
from pixsearch.trajectories.quarantine import Unusable
from pixsearch.trajectories.running import Done, Records, values_of
from pixsearch.trajectories.sources import BrokenRecord, SourcedQuestion
from pixsearch.trajectories.stage_lines import Outcome

TRAJECTORIES, QUARANTINE = "train.jsonl", "quarantine.jsonl"
_COMPOSING = "composing"  # folder of all that could be written, until the share is applied
UNCLASSED = "unclassed"


def write(
    records: Records,
    done: Done,
    options: BuildTrajectoriesOptions,
    blocked: Blocked,
    evaluated: Phrases = frozenset(),
) -> Counts:
    """Write the files that the module's docstring lists.

    Args:
        done: the lines of all stages.
        blocked: questions that may not be trained on.
        evaluated: phrases that may not be grounded in their images.

    Raises:
        ValueError: under `on_error=raise`, a question cannot be written.
    """
    folder, counts = Path(options.output_dir), Counts()
    with _emptied(folder / _COMPOSING) as composing:
        path = composing / "composed.jsonl"
        composed = _compose(records, done, options, blocked, evaluated, counts, path)
        kept = composed.within_share(options.without_search_share)
        composed.count(kept, counts)
        written = _counted(composed, kept, JsonLines(path), counts, options)
        write_trajectories(folder / TRAJECTORIES, written)
    return counts


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A folder for this run alone; what a killed one has left in it goes, too."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _compose(
    records: Records,
    done: Done,
    options: BuildTrajectoriesOptions,
    blocked: Blocked,
    evaluated: Phrases,
    counts: Counts,
    path: Path,
) -> Composed:
    """Write all trajectories that could be to `path`, and the quarantine."""
    folder = Path(options.output_dir)
    images = ImageFolder(folder / "images", options.images)
    composed = Composed(options.seed)
    aside = folder / f"{QUARANTINE}.partial"
    with ExitStack() as stack:
        lines = stack.enter_context(path.open("w", encoding="utf-8"))
        left_out = stack.enter_context(aside.open("w", encoding="utf-8"))
        for record in records:
            kind = _kind(record, done)
            try:
                trajectory = _trajectory(record, done, options, blocked, images)
                _check_phrases(record, trajectory, evaluated, counts)
            except _LeftOut as out:
                _quarantine(record, kind, out, counts, left_out)
                continue
            lines.write(json.dumps(to_json(trajectory), ensure_ascii=False) + "\n")
            is_searched = done[BuildStage.select].outcome(record.key) is Outcome.kept
            composed.add(record, kind, searches=is_searched)
    aside.replace(folder / QUARANTINE)
    return composed


class _LeftOut(Exception):
    """A question that is not written: at which stage it was left out, and why."""

    def __init__(self, stage: str, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.stage, self.reason, self.detail = stage, reason, detail


def _trajectory(
    record: SourcedQuestion | BrokenRecord,
    done: Done,
    options: BuildTrajectoriesOptions,
    blocked: Blocked,
    images: ImageFolder,
) -> StoredTrajectory:
    if record.key in blocked:
        raise _LeftOut("leaks", *blocked[record.key])
    for stage, lines in done.items():
        if lines.outcome(record.key) is Outcome.quarantined:
            line = lines.line(record.key)
            raise _LeftOut(stage, line["reason"], line["detail"])
    assert isinstance(record, SourcedQuestion)  # a broken record has a line of `select`
    is_searched = done[BuildStage.select].outcome(record.key) is Outcome.kept
    seen = done if is_searched else {BuildStage.select: done[BuildStage.select]}
    values = values_of(record, seen)
    try:
        image = images.put(record)
        if is_searched:
            return with_search(record, values, options, image)
        return without_search(record, image)
    except Unusable as error:
        if options.on_error == OnError["raise"]:
            raise ValueError(f"{record.key}: {error}; on_error=quarantine leaves it out") from error
        raise _LeftOut(BuildStage.write, error.reason, error.detail) from error


def _check_phrases(
    record: SourcedQuestion | BrokenRecord,
    trajectory: StoredTrajectory,
    evaluated: Phrases,
    counts: Counts,
) -> None:
    """
    Raises:
        _LeftOut: a grounded phrase is an expression that is evaluated in this image.
    """
    assert isinstance(record, SourcedQuestion)
    image_id = record.question.image_id
    phrase = image_id and named_among(trajectory.conversation, image_id, evaluated)
    if phrase:
        counts.leaks[str(LeakReason.expression), "blocked"] += 1
        detail = f"{phrase!r} is held out for this image"
        raise _LeftOut("leaks", f"leak_{LeakReason.expression}", detail)


def _kind(record: SourcedQuestion | BrokenRecord, done: Done) -> str:
    selected = done[BuildStage.select]
    if selected.outcome(record.key) in (Outcome.kept, Outcome.without_search):
        return selected.line(record.key)["value"]["kind"]
    return UNCLASSED


def _quarantine(
    record: SourcedQuestion | BrokenRecord,
    kind: str,
    out: _LeftOut,
    counts: Counts,
    file: TextIO,
) -> None:
    counts.note(record.source, kind, "quarantined")
    counts.reasons[record.source, str(out.stage), out.reason] += 1
    line = {
        "key": record.key,
        "source": record.source,
        "stage": str(out.stage),
        "reason": out.reason,
        "detail": out.detail,
    }
    file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _counted(
    composed: Composed,
    kept: Bool[np.ndarray, " num_lines"],
    lines: JsonLines,
    counts: Counts,
    options: BuildTrajectoriesOptions,
) -> Iterator[StoredTrajectory]:
    for row in composed.in_order(kept):
        source = composed.source_of(row)
        trajectory = from_json(lines[row], where=lines.where(row))
        answer = trajectory.conversation.messages[-1].parts
        searches = [part for part in answer if isinstance(part, Searched)]
        for part in searches:
            counts.searches[source, str(part.type)] += 1
        if searches and answer[-1] == Text(text=options.abstention):
            counts.abstained[source] += 1
        yield trajectory
