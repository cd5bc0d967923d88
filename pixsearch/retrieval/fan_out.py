"""One knowledge base over several servers, each of which holds a part of the documents.

Exact if the servers' scores are those that one index over all would give. Cosine similarities are.
BM25 weighs a word by how many documents of its own server have it, so that parts should be drawn at
random; the merge itself is exact for any score.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from math import inf
from typing import Any

from pixsearch.config import ClientOptions, OnMissingServer, RegionCrop, TextSearch
from pixsearch.queries import Passage, Query, SearchFailed, check_k
from pixsearch.retrieval.client import RemoteSearcher
from pixsearch.retrieval.info import SourceInfo
from pixsearch.retrieval.manifest import REMEDY

logger = logging.getLogger(__name__)

SPARE_PASSAGES = 8  # asked for beyond k, to see whether the last one is tied with others left out
# Asked for at most, or what the servers take if that is less. Where more than these tie at place k,
# those that a server names first are kept.
MOST_PASSAGES = 512
OF_THE_PART = ("corpus_sha256",)  # fields of an identity that differ from part to part

Results = list[list[Passage]]


class FanOutSearcher:
    """Asks all servers at once and keeps the best passages of all, equal ones by document id.

    Attributes:
        skipped: searches in which a server was missing (`on_missing_server=skip`); told at the end.

    Raises:
        ValueError: fewer than one URL, one twice, or one that is none.
    """

    def __init__(self, urls: Sequence[str], options: ClientOptions | None = None) -> None:
        if not urls or len(set(urls)) < len(urls):
            raise ValueError(f"retrieval.fan_out={list(urls)}: give each server's URL once")
        self.skipped = 0
        self._options = options or ClientOptions()
        self._servers = [RemoteSearcher(url, self._options) for url in urls]
        self._pool = ThreadPoolExecutor(len(urls), thread_name_prefix="fan-out")

    def search(
        self,
        queries: Sequence[Query],
        k: int = 5,
        *,
        region_crop: RegionCrop = RegionCrop.masked_crop,
    ) -> Results:
        """The k nearest passages of each query in all parts, nearest first.

        Raises:
            ValueError: k < 1, or two servers have different documents of one id.
            SearchFailed: a server does not answer; with `skip`, none does.
        """
        check_k(k)
        found: Results = [[] for _ in queries]
        most = min([MOST_PASSAGES, *(server.limits.max_topk or inf for server in self._servers)])
        places, asked = list(range(len(queries))), max(k, min(k + SPARE_PASSAGES, int(most)))
        while places:
            parts = self._ask([queries[place] for place in places], asked, region_crop)
            by_query = list(zip(*parts, strict=True))
            for place, of_query in zip(places, by_query, strict=True):
                found[place] = merge(of_query, k)
            if asked >= most:
                break
            places = [
                place
                for place, of_query in zip(places, by_query, strict=True)
                if _is_cut(of_query, found[place], asked=asked, k=k)
            ]
            asked = min(2 * asked, int(most))
        return found

    def info(self) -> SourceInfo:
        """What is searched, all parts together.

        Raises:
            ValueError: the parts were not made alike, or score by ranks, so that their scores
                cannot be compared.
            SearchFailed: a server does not answer.
        """
        infos = [server.info() for server in self._servers]
        for server, info in zip(self._servers[1:], infos[1:], strict=True):
            _check_alike(infos[0], info, f"{self._servers[0].url} and {server.url}")
        _refuse_ranks(infos[0])
        infos.sort(key=lambda info: info.corpus_sha256)  # whatever the order of the URLs
        hashes = " ".join(info.corpus_sha256 for info in infos)
        return SourceInfo(
            manifests={
                f"{number}/{name}": manifest
                for number, info in enumerate(infos)
                for name, manifest in info.manifests.items()
            },
            corpus_sha256=hashlib.sha256(hashes.encode()).hexdigest(),
            num_documents=sum(info.num_documents for info in infos),
            settings=infos[0].settings,
        )

    def close(self) -> None:
        """Let go of threads and connections, and say how many searches lacked a server."""
        if self.skipped:
            logger.warning("%d searches lacked a server (on_missing_server=skip)", self.skipped)
            self.skipped = 0
        self._pool.shutdown()
        for server in self._servers:
            server.close()

    def __enter__(self) -> "FanOutSearcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, queries: list[Query], k: int, region_crop: RegionCrop) -> list[Results]:
        """What each server found, missing ones left out if they may be."""
        futures = [
            self._pool.submit(server.search, queries, k, region_crop=region_crop)
            for server in self._servers
        ]
        parts, failures = [], []
        for future in futures:
            try:
                parts.append(future.result())
            except SearchFailed as failed:
                failures.append(failed)
        if failures:
            self._judge(failures)
        return parts

    def _judge(self, failures: list[SearchFailed]) -> None:
        """Go on without the servers that failed, if that is allowed and one is left."""
        reasons = "; ".join(str(failed) for failed in failures)
        may_skip = self._options.on_missing_server is OnMissingServer.skip
        if not may_skip or len(failures) == len(self._servers):
            raise SearchFailed(
                f"{len(failures)} of {len(self._servers)} servers failed: {reasons}",
                is_temporary=all(failed.is_temporary for failed in failures),
                retry_after=max(failed.retry_after for failed in failures),
            )
        self.skipped += 1
        logger.warning(
            "searched without %d of %d servers: %s", len(failures), len(self._servers), reasons
        )


def merge(parts: Iterable[Sequence[Passage]], k: int) -> list[Passage]:
    """The k best of several lists, equal scores by document id. One that is in two occurs once.

    Raises:
        ValueError: two lists have different documents of one id.
    """
    best: dict[str, Passage] = {}
    for passage in chain.from_iterable(parts):
        known = best.setdefault(passage.id, passage)
        if replace(known, score=passage.score) != passage:
            raise ValueError(
                f"two servers have different documents of the id {passage.id!r}: make ids unique"
            )
        best[passage.id] = max(known, passage, key=lambda one: one.score)
    return sorted(best.values(), key=lambda one: (-one.score, one.id))[:k]


def _is_cut(
    parts: Sequence[Sequence[Passage]], merged: Sequence[Passage], *, asked: int, k: int
) -> bool:
    """Whether a server may have left out a passage that ties with the last one kept."""
    full = [part for part in parts if len(part) == asked]
    return len(merged) == k and any(part[-1].score >= merged[-1].score for part in full)


def _check_alike(first: SourceInfo, other: SourceInfo, names: str) -> None:
    """See that scores of two parts mean the same.

    Raises:
        ValueError: names what differs.
    """
    settings = first.settings.items()
    differing = [name for name, value in settings if value != other.settings.get(name)]
    if first.manifests.keys() != other.manifests.keys():
        differing.append(f"indexes ({', '.join(first.manifests)}; {', '.join(other.manifests)})")
    else:
        pairs = [(name, _identity(first, name), _identity(other, name)) for name in first.manifests]
        differing += [f"{name}: {key}" for name, a, b in pairs for key in a if a[key] != b.get(key)]
    if differing:
        raise ValueError(f"{names} differ in {'; '.join(differing)}: {REMEDY} for each alike")


def _refuse_ranks(info: SourceInfo) -> None:
    """See that scores are no sums of ranks: the first of a part has rank 1 however far it is.

    Raises:
        ValueError: they are.
    """
    fused = {"text_search": TextSearch.hybrid.value, "fuse_question": True}
    for name, value in fused.items():
        if info.settings.get(name) == value:
            raise ValueError(
                f"retrieval.fan_out: the servers search with retrieval.{name}={value}, whose ranks "
                "in parts cannot be compared: serve them without it, or one server over all"
            )


def _identity(info: SourceInfo, name: str) -> dict[str, Any]:
    identity = info.manifests[name]["identity"]
    return {key: value for key, value in identity.items() if key not in OF_THE_PART}
