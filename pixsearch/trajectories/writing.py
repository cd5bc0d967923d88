"""The last stage: trajectories, quarantine and counts, from what the other stages wrote.

    OUTPUT/train.jsonl        trajectories, in an order drawn by the seed: the end is kept back in
                              training, and shows all sources
    OUTPUT/images/            their images
    OUTPUT/quarantine.jsonl   {"key", "source", "stage", "reason", "detail"} of what is left out

All of it is a function of the stages' lines, and is written anew each time.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pixsearch.chat import Searched, Text
from pixsearch.config import BuildStage, BuildTrajectoriesOptions, OnError
from pixsearch.datasets.files import JsonLines
from pixsearch.datasets.trajectories import (
    StoredTrajectory,
    from_json,
    to_json,
    write_trajectories,
)
from pixsearch.line_store import digest
from pixsearch.trajectories.composing import with_search, without_search
from pixsearch.trajectories.counts import Counts
from pixsearch.trajectories.held_out import Blocked
from pixsearch.trajectories.images import ImageFolder
from pixsearch.trajectories.quarantine import Unusable
from pixsearch.trajectories.running import Done, Records, values_of
from pixsearch.trajectories.sources import BrokenRecord, SourcedQuestion
from pixsearch.trajectories.stage_lines import Outcome

TRAJECTORIES, QUARANTINE = "train.jsonl", "quarantine.jsonl"
_COMPOSED = "composed.jsonl"  # all that could be written, before the share of answers is applied
UNCLASSED = "unclassed"


@dataclass(frozen=True, kw_only=True)
class _Composed:
    """A line of `composed.jsonl`."""

    index: int
    key: str
    source: str
    kind: str
    searches: bool


def write(
    records: Records, done: Done, options: BuildTrajectoriesOptions, blocked: Blocked
) -> Counts:
    """Write the files that the module's docstring lists.

    Args:
        done: the lines of all stages.
        blocked: questions that may not be trained on.

    Raises:
        ValueError: under `on_error=raise`, a question cannot be written.
    """
    folder, counts = Path(options.output_dir), Counts()
    composed = _compose(records, done, options, blocked, counts)
    kept = _within_share(composed, options)
    for each in composed:
        column = "with_search" if each.searches else "without_search"
        counts.note(each.source, each.kind, column if each.index in kept else "beyond_share")
    lines = JsonLines(folder / _COMPOSED)
    chosen = sorted((each for each in composed if each.index in kept), key=_drawn(options))
    write_trajectories(folder / TRAJECTORIES, _counted(chosen, lines, counts, options))
    (folder / _COMPOSED).unlink()
    return counts


def _compose(
    records: Records,
    done: Done,
    options: BuildTrajectoriesOptions,
    blocked: Blocked,
    counts: Counts,
) -> list[_Composed]:
    """Write all trajectories that could be, and the quarantine."""
    folder = Path(options.output_dir)
    images = ImageFolder(folder / "images", options.images)
    composed: list[_Composed] = []
    aside = folder / f"{QUARANTINE}.partial"
    with ExitStack() as stack:
        lines = stack.enter_context((folder / _COMPOSED).open("w", encoding="utf-8"))
        left_out = stack.enter_context(aside.open("w", encoding="utf-8"))
        for record in records:
            kind = _kind(record, done)
            try:
                trajectory = _trajectory(record, done, options, blocked, images)
            except _LeftOut as out:
                _quarantine(record, kind, out, counts, left_out)
                continue
            lines.write(json.dumps(to_json(trajectory), ensure_ascii=False) + "\n")
            composed.append(
                _Composed(
                    index=len(composed),
                    key=record.key,
                    source=record.source,
                    kind=kind,
                    searches=done[BuildStage.select].outcome(record.key) is Outcome.kept,
                )
            )
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


def _within_share(composed: Sequence[_Composed], options: BuildTrajectoriesOptions) -> set[int]:
    """Indices of those that are written: as many answers without a search as the share allows."""
    searching = {each.index for each in composed if each.searches}
    plain = sorted((each for each in composed if not each.searches), key=_drawn(options))
    share = options.without_search_share
    most = len(plain) if share == 1 else round(len(searching) * share / (1 - share))
    return searching | {each.index for each in plain[:most]}


def _drawn(options: BuildTrajectoriesOptions) -> Any:
    """A key to sort by that shuffles: the same for a question whatever others there are."""
    return lambda each: digest([options.seed, each.key])


def _counted(
    chosen: Sequence[_Composed],
    lines: JsonLines,
    counts: Counts,
    options: BuildTrajectoriesOptions,
) -> Iterator[StoredTrajectory]:
    for each in chosen:
        trajectory = from_json(lines[each.index], where=each.key)
        answer = trajectory.conversation.messages[-1].parts
        searches = [part for part in answer if isinstance(part, Searched)]
        for part in searches:
            counts.searches[each.source, str(part.type)] += 1
        if searches and answer[-1] == Text(text=options.abstention):
            counts.abstained[each.source] += 1
        yield trajectory
