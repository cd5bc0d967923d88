"""Prints or runs what fetches published data and weights: scripts/download.py."""

import hashlib
import logging
import shlex
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

import httpx
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get

from pixsearch.config import DownloadOptions
from pixsearch.datasets.published import PUBLISHED
from pixsearch.datasets.published.records import ByHand, Fetch, HubFiles, Kind, Source, WebFile

logger = logging.getLogger(__name__)

UNFINISHED = ".unfinished"  # behind the name of a file that is being fetched


def download(options: DownloadOptions) -> None:
    """Tell the commands for each source, with its licence and size; run them if so told.

    Raises:
        ValueError: there is no such source, or a file is not what its publisher gave the hash of.
        OSError: a file cannot be fetched; the same call goes on where it stopped.
    """
    if not options.what:
        logger.info("what=[NAME,…], data or weights; the names:\n%s", "\n".join(_list()))
        return
    root, sources = Path(options.paths.data), chosen(options.what)
    lines = [line for name, source in sources.items() for line in describe(name, source, root)]
    logger.info("%s\n%s", "fetching" if options.run else "commands", "\n".join(lines))
    if not options.run:
        return
    for name, source in sources.items():
        for fetch in source.fetches:
            run_fetch(fetch, root)
        if source.afterwards:
            logger.info("%s: now %s", name, source.afterwards)


def chosen(what: Sequence[str]) -> dict[str, Source]:
    """Sources by their names; `data` and `weights` stand for all of the kind.

    Raises:
        ValueError: there is no such source.
    """
    names: dict[str, Source] = {}
    for word in what:
        of_kind = {name: one for name, one in PUBLISHED.items() if one.kind == word}
        if not of_kind and word not in PUBLISHED:
            raise ValueError(
                f"what: no source {word!r}; there are: {', '.join([*Kind, *PUBLISHED])}"
            )
        names |= of_kind or {word: PUBLISHED[word]}
    return names


def describe(name: str, source: Source, root: Path) -> Iterator[str]:
    """Lines for a shell: what it is, and the commands."""
    page = f" ({source.licence_page})" if source.licence_page else ""
    yield f"# {name}: {source.size}; licence: {source.licence}{page}"
    for fetch in source.fetches:
        yield from _commands(fetch, root)
    if source.afterwards:
        yield f"# then: {source.afterwards}"


def run_fetch(fetch: Fetch, root: Path) -> None:
    """Fetch one thing; what is there already is left as it is.

    Raises:
        ValueError: it is not what its publisher gave the hash of.
        OSError: it cannot be fetched.
    """
    match fetch:
        case WebFile():
            fetch_file(fetch, root / fetch.folder / fetch.name)
        case HubFiles():
            snapshot_download(
                fetch.repo,
                repo_type=_type(fetch),
                revision=fetch.revision,
                local_dir=None if fetch.folder is None else root / fetch.folder,
                allow_patterns=list(fetch.patterns) or None,
            )
        case ByHand():
            logger.warning("by hand: %s (%s)", fetch.what, fetch.page)


def fetch_file(source: WebFile, path: Path) -> None:
    """Fetch a file, or the rest of it; it bears its name once it is whole and has its hash.

    Raises:
        ValueError: it has another hash; it is kept under the name with `.unfinished`.
        OSError: it cannot be fetched.
    """
    if path.exists():
        logger.info("%s: is there", path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}{UNFINISHED}")
    try:
        with unfinished.open("ab") as file:
            http_get(source.url, file, resume_size=file.tell())
    except (httpx.HTTPError, HfHubHTTPError) as error:
        if not _is_whole(error):
            raise OSError(
                f"{source.url}: {str(error).splitlines()[0]}; the same command goes on where it "
                "stopped"
            ) from error
    _check_hash(source, unfinished)
    unfinished.rename(path)
    logger.info("%s: fetched", path)


def _is_whole(error: Exception) -> bool:
    """Whether a server says that there is nothing behind what is there."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE


def _check_hash(source: WebFile, path: Path) -> None:
    if source.sha256 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != source.sha256:
        raise ValueError(
            f"{path}: sha256 {found}, its publisher gives {source.sha256}; delete it and fetch it "
            "again"
        )


def _commands(fetch: Fetch, root: Path) -> Iterator[str]:
    match fetch:
        case WebFile():
            path = shlex.quote(str(root / fetch.folder / fetch.name))
            yield f"curl -L -C - --create-dirs -o {path} {shlex.quote(fetch.url)}"
            if fetch.sha256 is not None:
                yield f"echo '{fetch.sha256}  '{path} | sha256sum -c"
        case HubFiles():
            words = ["hf", "download", fetch.repo, "--repo-type", _type(fetch)]
            words += ["--revision", fetch.revision] if fetch.revision else []
            words += ["--local-dir", str(root / fetch.folder)] if fetch.folder else []
            words += [word for pattern in fetch.patterns for word in ("--include", pattern)]
            yield shlex.join(words)
        case ByHand():
            yield f"# by hand: {fetch.what} ({fetch.page})"


def _type(fetch: HubFiles) -> str:
    return "dataset" if fetch.is_dataset else "model"


def _list() -> Iterator[str]:
    for name, source in PUBLISHED.items():
        yield f"{source.kind:8} {name:22} {source.size}; licence: {source.licence}"
