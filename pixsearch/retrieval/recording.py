"""Searches written down, and found again when the index or the API is gone.

    RECORDING.jsonl         {"key", "type", "text", "k", "passages": […]}: a line for each search
    RECORDING.jsonl.info    what was searched: the `SourceInfo` of the source

A search is known by its words, the sha256 of its pixels and of its mask, k and the crop. A mask
that another machine computes by one pixel otherwise is another search, not in the recording.
"""

import fcntl
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pixsearch.config import RegionCrop
from pixsearch.line_store import digest, drop_cut_line, write_json
from pixsearch.queries import Passage, Query, SearchFailed, check_k
from pixsearch.retrieval.cache import result_key
from pixsearch.retrieval.info import KnowledgeSource, SourceInfo

logger = logging.getLogger(__name__)


class RecordingSearcher:
    """Asks a source and writes down what it has not written before; several processes may.

    Args:
        source: that is asked.
        path: of the recording; it is gone on with.

    Raises:
        ValueError: the recording is of another source, or is none.
    """

    def __init__(self, source: KnowledgeSource, path: Path) -> None:
        self.source = source
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        info = source.info()
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            drop_cut_line(path)
            self._claim(info)
            self._written = {record["key"] for _, record in _records(path)}

    def search(
        self, queries: Sequence[Query], k: int = 5, *, region_crop: RegionCrop
    ) -> list[list[Passage]]:
        """What the source finds; on disk when this returns."""
        found = self.source.search(queries, k, region_crop=region_crop)
        lines = {}
        for query, passages in zip(queries, found, strict=True):
            key = search_key(query, k, region_crop)
            if key not in self._written:
                lines[key] = json.dumps(_record(key, query, k, passages), ensure_ascii=False)
        if lines:
            with self._path.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.write("".join(f"{line}\n" for line in lines.values()).encode())
            self._written.update(lines)
        return found

    def info(self) -> SourceInfo:
        return self.source.info()

    def _claim(self, info: SourceInfo) -> None:
        """Say what is recorded, or see that it is the same as before. For whoever has the lock."""
        path = _info_path(self._path)
        if path.exists() or self._path.stat().st_size:
            if _read_info(path) != SourceInfo.from_json(_plain(info)):
                raise ValueError(
                    f"{self._path} holds searches of another source: set retrieval.recording to a "
                    "new file"
                )
            return
        write_json(path, _plain(info))


class ReplaySearcher:
    """Finds what a recording holds, and asks nothing.

    It keeps where each search stands in the file, not the passages.

    Raises:
        ValueError: there is no such recording, or a line of it is broken.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ValueError(
                f"retrieval.recording={path}: no such file; it is written by a run with "
                "retrieval.recording=FILE and the source that is to be replayed"
            )
        self._path = path
        self._info = _read_info(_info_path(path))
        self._places = {record["key"]: place for place, record in _records(path)}
        logger.info("%s: %d searches to be replayed", path, len(self._places))

    def search(
        self, queries: Sequence[Query], k: int = 5, *, region_crop: RegionCrop
    ) -> list[list[Passage]]:
        """The passages of each query as they were found then.

        Raises:
            SearchFailed: a search that is not in the recording.
        """
        check_k(k)
        with self._path.open("rb") as file:
            return [self._passages(file, query, k, region_crop) for query in queries]

    def info(self) -> SourceInfo:
        """Of the source that was recorded."""
        return self._info

    def _passages(self, file: Any, query: Query, k: int, region_crop: RegionCrop) -> list[Passage]:
        place = self._places.get(search_key(query, k, region_crop))
        if place is None:
            what = f"the text {query.text!r}" if query.text else f"this {query.type}"
            raise SearchFailed(
                f"{self._path} holds no search for {what} with k={k}: checkpoint, policy or crop "
                "are others than when it was recorded",
                is_temporary=False,
            )
        file.seek(place)
        return [Passage(**passage) for passage in json.loads(file.readline())["passages"]]


def search_key(query: Query, k: int, region_crop: RegionCrop) -> str:
    """sha256 of all that decides what a source finds for a query.

    The crop counts for regions alone.
    """
    crop = region_crop if query.mask is not None else RegionCrop.masked_crop
    return digest(asdict(result_key(query, k, crop, index="")))


def _record(key: str, query: Query, k: int, passages: Sequence[Passage]) -> dict[str, Any]:
    found = [asdict(passage) | {"score": float(passage.score)} for passage in passages]
    return {"key": key, "type": query.type.value, "text": query.text, "k": k, "passages": found}


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Where each line begins, in bytes, and what it holds."""
    place = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line)
                record["key"], record["passages"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}:{number}: no recorded search; remove the line") from error
            yield place, record
            place += len(line)


def _plain(info: SourceInfo) -> dict[str, Any]:
    """As JSON has it, lists for tuples."""
    return json.loads(json.dumps(info.to_json()))


def _read_info(path: Path) -> SourceInfo:
    try:
        return SourceInfo.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path}: does not say what was recorded ({error}); record the searches again"
        ) from error


def _info_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.info")
