"""Lines of one kind that several processes write and all of them read.

NAME.jsonl             of a run of one process, or of its first
NAME.part-RR.jsonl     of process RR of several
"""

import logging
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from pixsearch.evaluation.processes import Place
from pixsearch.line_store import LineStore, read_lines, read_manifest

logger = logging.getLogger(__name__)

PART = ".part-"


class PartedLines:
    """A line store for each process; what any has done is done.

    To be opened while `preparing`. Lines are appended to this process's own file and may be taken
    out of all files.

    Args:
        path: of the file without parts.
        id_field, manifest: as in `LineStore`.
    """

    def __init__(
        self, path: Path, place: Place, *, id_field: str, manifest: dict[str, Any]
    ) -> None:
        self.path = path
        self._id_field = id_field
        own = part_path(path, place)
        self._stores = [
            LineStore(part, id_field=id_field, manifest=manifest)
            for part in (own, *(other for other in part_paths(path) if other != own))
        ]

    @property
    def done(self) -> set[str]:
        """Ids of all lines of this moment."""
        return {line[self._id_field] for line in self.lines()}

    def is_short_of(self, ids: Collection[str]) -> bool:
        """Whether lines of these ids are left to other processes, which is logged."""
        num_left = len(set(ids) - self.done)
        if num_left:
            logger.info("%s: %d lines are left to other processes", self.path, num_left)
        return num_left > 0

    def append(self, line: dict[str, Any]) -> None:
        """Write one line; when this returns, a kill of the process cannot lose it."""
        self._stores[0].append(line)

    def drop(self, is_dropped: Callable[[dict[str, Any]], bool]) -> None:
        """Take lines out of all files, so that what they are about is done again."""
        for store in self._stores:
            store.drop(is_dropped)

    def lines(self) -> Iterator[dict[str, Any]]:
        """All lines of all files, those of this moment."""
        return read_parts(self.path, id_field=self._id_field)


def part_path(path: Path, place: Place) -> Path:
    """
    >>> part_path(Path("full.jsonl"), Place(rank=1, count=2)).name
    'full.part-01.jsonl'
    """
    return path.with_name(f"{path.stem}{PART}{place.rank:02d}.jsonl") if place.rank else path


def part_paths(path: Path) -> list[Path]:
    """The files that there are, in the order of their processes."""
    parts = sorted(path.parent.glob(f"{path.stem}{PART}*.jsonl"))
    return [path] * path.exists() + parts


def names_of_lines(folder: Path) -> list[str]:
    """Names of all kinds of lines in a folder, whatever parts they are in.

    >>> names_of_lines(Path("/nowhere"))
    []
    """
    return sorted({path.stem.split(PART)[0] for path in folder.glob("*.jsonl")})


def check_name(path: Path, made_for: str) -> None:
    """See that lines bear the name of what they were made for.

    Raises:
        ValueError: somebody has renamed them.
    """
    if path.stem != made_for:
        raise ValueError(
            f"{path} was made for {made_for}: rename it and its manifest back, or move both away"
        )


def read_parts(path: Path, *, id_field: str) -> Iterator[dict[str, Any]]:
    """All whole lines of all files.

    Raises:
        ValueError: as `read_lines`, or an id is in two of the files.
    """
    seen: dict[str, Path] = {}
    for part in part_paths(path):
        for line in read_lines(part, id_field=id_field):
            earlier = seen.setdefault(line[id_field], part)
            if earlier != part:
                raise ValueError(
                    f"{part}: {line[id_field]!r} is in {earlier} too; remove one of the two lines"
                )
            yield line


def manifest_of_parts(path: Path) -> dict[str, Any]:
    """The one manifest of all files.

    Raises:
        ValueError: there is none, or they were made by different runs.
    """
    first, *others = part_paths(path)
    manifest = read_manifest(first)
    for other in others:
        if read_manifest(other) != manifest:
            raise ValueError(f"{other} is of another run than {first}: move one of them away")
    return manifest
