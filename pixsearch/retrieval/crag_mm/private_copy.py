"""A writable copy of a published index, made once and stamped.

chromadb writes to a collection that it only opens, and a newer release changes its files so that an
older one fails on them. So nothing is opened in the hub's cache or in a folder of the user's.
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from huggingface_hub import snapshot_download
from packaging.version import Version

from pixsearch.retrieval.crag_mm.vector_file import refuse_cut_vectors
from pixsearch.retrieval.index import replaced_folder

logger = logging.getLogger(__name__)

DATABASE = "chroma.sqlite3"
STAMP = "copied_from.json"
OPENED_BEFORE = "0"  # as the version of chromadb that opened a copy: none has yet


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """What a copy is a copy of.

    Attributes:
        source: folder or hub id, as the options give it.
        revision: the hub's commit; "" for a folder.
        sha256: of all the source's files with their paths.
        chromadb: newest release that has opened the copy.
    """

    source: str
    revision: str
    sha256: str
    chromadb: str = OPENED_BEFORE


@dataclass(frozen=True, kw_only=True)
class PrivateCopy:
    """A copy that may be opened."""

    folder: Path
    stamp: Stamp


@contextmanager
def private_copy(source: str, revision: str | None, copies: Path) -> Iterator[PrivateCopy]:
    """The copy of an index under `copies`, made now if it is not there.

    One process at a time is in the block: the first opening by a newer chromadb changes the files,
    and two at once would fail. When the block ends well, the copy is stamped as opened.

    Args:
        source: a folder with chroma.sqlite3, or the id of a data set on the Hugging Face hub.
        revision: of the data set, a commit or a name; None: its main branch.

    Raises:
        ValueError: no such source, no index in it, no room for the copy, a copy of something else,
            or one that a newer chromadb has opened.
    """
    installed = installed_chromadb()
    folder = copies / _folder_name(source, revision)
    copies.mkdir(parents=True, exist_ok=True)
    with _one_process(folder):
        if not folder.exists():
            _copy(_located(source, revision), folder, source)
        stamp = _read_stamp(folder)
        _refuse_misfit(stamp, source, installed, folder)
        logger.info("%s (revision %s) is read from %s", source, stamp.revision or "-", folder)
        yield PrivateCopy(folder=folder, stamp=stamp)
        if stamp.chromadb != installed:
            _write_stamp(folder, replace(stamp, chromadb=installed))


def installed_chromadb() -> str:
    """The version of chromadb.

    Raises:
        ValueError: it is not installed.
    """
    if importlib.util.find_spec("chromadb") is None:
        raise ValueError(
            "retrieval.source=crag_mm: chromadb is not installed; "
            "run `make setup EXTRAS=cpu,crag-mm`"
        )
    return importlib.metadata.version("chromadb")


def _folder_name(source: str, revision: str | None) -> str:
    name = re.sub(r"[^\w.-]+", "--", source.strip("/"))
    return f"{name}@{revision}" if revision else name


@contextmanager
def _one_process(folder: Path) -> Iterator[None]:
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("waiting for another process that copies or opens %s", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _located(source: str, revision: str | None) -> tuple[Path, str]:
    """Where the source's files lie, fetched from the hub if need be, and its commit."""
    if Path(source).is_dir():
        if revision:
            raise ValueError(
                f"{source} is a folder and has no revision {revision}: set "
                "retrieval.crag_mm.image_revision or web_revision to null"
            )
        return Path(source), ""
    try:
        found = Path(snapshot_download(source, repo_type="dataset", revision=revision))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{source} (revision {revision or 'main'}) is no folder, and as a data set of the "
            f"Hugging Face hub it cannot be had: {reason}"
        ) from error
    return found, found.name


def _copy(located: tuple[Path, str], folder: Path, source: str) -> None:
    place, commit = located
    if not (place / DATABASE).is_file():
        raise ValueError(f"{place} has no {DATABASE}: it is not an index of CRAG-MM's search")
    refuse_cut_vectors(place)
    files = sorted(_files(place))
    needed, free = sum(file.stat().st_size for file in files), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise ValueError(
            f"the copy of {source} takes {needed:,} bytes and {folder.parent} has {free:,}: "
            "set retrieval.crag_mm.copies to a folder with room"
        )
    logger.info("copying %s (%d bytes) to %s", source, needed, folder)
    digest = hashlib.sha256()
    with replaced_folder(folder) as partial:
        for file in files:
            relative = file.relative_to(place)
            (partial / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, partial / relative)  # contents alone: a cache may be read-only
            with file.open("rb") as content:
                digest.update(str(relative).encode())
                digest.update(hashlib.file_digest(content, "sha256").digest())
        _write_stamp(partial, Stamp(source=source, revision=commit, sha256=digest.hexdigest()))


def _files(place: Path) -> Iterator[Path]:
    """All files but hidden ones, links followed: the hub's cache is made of links."""
    for folder, folders, names in os.walk(place, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _refuse_misfit(stamp: Stamp, source: str, installed: str, folder: Path) -> None:
    if stamp.source != source:
        raise ValueError(
            f"{folder} is a copy of {stamp.source}, not of {source}: "
            "set another retrieval.crag_mm.copies"
        )
    if Version(stamp.chromadb) > Version(installed):
        raise ValueError(
            f"chromadb {stamp.chromadb} has opened {folder} and {installed} is installed, which "
            f"may fail on it: delete {folder}, it is copied anew"
        )


def _read_stamp(folder: Path) -> Stamp:
    path = folder / STAMP
    try:
        return Stamp(**json.loads(path.read_text()))
    except (OSError, json.JSONDecodeError, TypeError) as error:
        raise ValueError(
            f"{path} is missing or broken: delete {folder}, it is copied anew"
        ) from error


def _write_stamp(folder: Path, stamp: Stamp) -> None:
    (folder / STAMP).write_text(json.dumps(asdict(stamp), indent=2) + "\n")
