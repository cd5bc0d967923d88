"""A set's official file, or what its authors keep on the Hugging Face hub; read whole."""

import csv
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from pixsearch.datasets.files import JsonLines, read_json

_COLUMN_BREAKS = {".csv": ",", ".tsv": "\t"}
_FIELD_LIMIT = 1 << 24  # characters; csv's own is shorter than some lists of aliases


@dataclass(frozen=True, kw_only=True)
class HubRelease:
    """A data set on the hub, kept there by the authors of the set.

    Attributes:
        revision: the commit that is read; tags and branches move.
        files: a pattern for each of our splits, as they lie in the repository.
    """

    repository: str
    revision: str
    files: Mapping[str, str]

    def command(self, folder: Path) -> str:
        """What fetches it."""
        return (
            f"hf download {self.repository} --repo-type dataset --revision {self.revision} "
            f"--local-dir {folder}"
        )


def files_of(root: Path, split: str, official: Path, release: HubRelease) -> list[Path]:
    """The official file where it is there, else the hub's files under `root`.

    Raises:
        ValueError: neither is there, or the hub's files are of another revision.
    """
    if official.is_file():
        return [official]
    pattern = release.files.get(split)
    found = sorted(root.glob(pattern)) if pattern is not None else []
    if not found:
        hub = "" if pattern is None else f", nor {root / pattern} ({release.command(root)})"
        raise ValueError(f"{official}: no such file{hub}; data/README.md says what goes where")
    for path in found:
        _check_revision(path, root, release)
    return found


def _check_revision(path: Path, root: Path, release: HubRelease) -> None:
    """By the note that `hf download --local-dir` leaves; files without one came in another way."""
    place = path.relative_to(root)
    note = root / ".cache/huggingface/download" / f"{place}.metadata"
    revision = note.read_text().split("\n")[0] if note.is_file() else release.revision
    if revision != release.revision:
        raise ValueError(
            f"{path}: of revision {revision}, not {release.revision}; fetch it by "
            f"`{release.command(root)}`"
        )


class Rows(Sequence):
    """The records of files in a row: .json (a list), .jsonl, .parquet, .csv or .tsv.

    Args:
        keep: what to keep of a record, given its place; all of it unless told.

    Raises:
        ValueError: a file is missing or broken.
    """

    def __init__(
        self, paths: Sequence[Path], keep: Callable[[Any, str], Any] = lambda record, where: record
    ) -> None:
        self.paths = tuple(paths)
        self._rows: list[Any] = []
        ends = []
        for path in paths:
            self._rows += [
                keep(record, _where(path, row)) for row, record in enumerate(_records(path))
            ]
            ends.append(len(self._rows))
        self._ends = ends

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Any:  # type: ignore[override]
        return self._rows[index]

    def where(self, index: int) -> str:
        """A record's file and place in it."""
        file = bisect_right(self._ends, index)
        return _where(self.paths[file], index - ([0, *self._ends][file]))


def _where(path: Path, row: int) -> str:
    return f"{path}: item {row}"


def _records(path: Path) -> Sequence[Any]:
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.suffix in _COLUMN_BREAKS:
        return _table(path)
    if path.suffix == ".jsonl":
        return JsonLines(path)
    content = read_json(path)
    if not isinstance(content, list):
        raise ValueError(f"{path}: a {type(content).__name__}, not a list of questions")
    return content


def _parquet(path: Path) -> list[dict[str, Any]]:
    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: no parquet ({error}); fetch it again") from error


def _table(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; data/README.md says what goes where")
    csv.field_size_limit(_FIELD_LIMIT)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter=_COLUMN_BREAKS[path.suffix], strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no table ({error}); fetch it again") from error
