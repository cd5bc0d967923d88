"""A searcher whose knowledge base and indexes are behind a server."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, ClassVar

from pixsearch.config import ClientOptions, RegionCrop
from pixsearch.queries import Passage, Query, SearchFailed, check_k
from pixsearch.retrieval.connection import MEBI, Connection
from pixsearch.retrieval.info import SourceInfo
from pixsearch.retrieval.limits import RequestLimits
from pixsearch.retrieval.wire import passages_of, query_parts, request_of

MEGA = 1e6
ENVELOPE = 1024  # bytes of a request that belong to no query, at most


class RemoteSearcher:
    """Asks `scripts/serve_retriever.py`. Finds what a `Searcher` there finds.

        with RemoteSearcher("http://127.0.0.1:8000") as searcher:
            searcher.search([Query.of_text("who made it?")], k=3)

    Safe for several threads. Nothing is sent before the first call. Once `info` was called, as
    `open_searcher` does, queries go in as many requests as the server's limits ask for.

    Attributes:
        calls_at_a_time: of an engine; see `AnySearcher`.
        limits: of the server, as `info` heard them last; none before.

    Raises:
        ValueError: the URL is none.
    """

    calls_at_a_time: ClassVar[int] = 4

    def __init__(self, url: str, options: ClientOptions | None = None) -> None:
        self._options = options or ClientOptions()
        self._connection = Connection(url, self._options)
        self.limits = RequestLimits()

    @property
    def url(self) -> str:
        return self._connection.url

    def search(
        self,
        queries: Sequence[Query],
        k: int = 5,
        *,
        region_crop: RegionCrop = RegionCrop.masked_crop,
    ) -> list[list[Passage]]:
        """The k nearest passages of each query, nearest first; as `Searcher.search`.

        Raises:
            ValueError: k < 1.
            SearchFailed: the server does not answer, or refuses a query.
        """
        check_k(k)
        found: list[list[Passage]] = []
        for parts in self._by_size(queries):
            body = json.dumps(request_of(parts, k=k, region_crop=region_crop)).encode()
            read = partial(passages_of, num_queries=len(parts), k=k)
            found += self._connection.post("/retrieve", body, read)
        return found

    def info(self) -> SourceInfo:
        """What the server searches.

        Raises:
            SearchFailed: it does not answer, or is another kind of server.
        """
        info, self.limits = self._connection.get("/info", _read_info)
        return info

    def close(self) -> None:
        """Let go of the pooled connections."""
        self._connection.close()

    def __enter__(self) -> "RemoteSearcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _by_size(self, queries: Sequence[Query]) -> Iterator[list[dict[str, Any]]]:
        """The parts of queries in groups that each fit one request."""
        most = self._most()
        group: list[dict[str, Any]] = []
        size = _Size()
        for number, query in enumerate(queries):
            part = query_parts(query)
            of_part = _Size.of(query, part)
            if of_part.num_bytes > most.num_bytes:
                raise SearchFailed(
                    f"query {number} takes {of_part.num_bytes / MEBI:.1f} MiB, a request "
                    f"{most.num_bytes / MEBI:.1f} at most (the server's limit, and "
                    f"retrieval.client.max_request_mib={self._options.max_request_mib})",
                    is_temporary=False,
                )
            if group and (size + of_part).is_above(most):
                yield group
                group, size = [], _Size()
            group.append(part)
            size += of_part
        if group:
            yield group

    def _most(self) -> "_Size":
        """What fits one request by our options and by the server's limits."""
        limits, options = self.limits, self._options
        return _Size(
            num_bytes=min(options.max_request_mib, limits.max_body_mib or inf) * MEBI - ENVELOPE,
            num_queries=limits.max_queries or inf,
            # The server adds fractions of megapixels up, in another order.
            num_pixels=(limits.max_request_megapixels or inf) * MEGA * (1 - 1e-9),
        )


@dataclass(frozen=True, kw_only=True)
class _Size:
    """Of queries in one request."""

    num_bytes: int | float = 0
    num_queries: int | float = 0
    num_pixels: int | float = 0

    @classmethod
    def of(cls, query: Query, part: dict[str, Any]) -> "_Size":
        pixels = 0 if query.image is None else query.image.width * query.image.height
        return cls(num_bytes=_most_bytes(part), num_queries=1, num_pixels=pixels)

    def __add__(self, other: "_Size") -> "_Size":
        return _Size(
            num_bytes=self.num_bytes + other.num_bytes,
            num_queries=self.num_queries + other.num_queries,
            num_pixels=self.num_pixels + other.num_pixels,
        )

    def is_above(self, most: "_Size") -> bool:
        """Whether it does not fit a request that takes `most`."""
        return (
            self.num_bytes > most.num_bytes
            or self.num_queries > most.num_queries
            or self.num_pixels > most.num_pixels
        )


def _read_info(reply: Any) -> tuple[SourceInfo, RequestLimits]:
    return SourceInfo.from_json(reply), RequestLimits.of_info(reply)


def _most_bytes(part: dict[str, Any]) -> int:
    """Of a query in JSON, at most."""
    counts = part["regions"]["counts"] if part["regions"] else ()
    words = len(part["queries"] or "") + len(part["questions"] or "")
    return len(part["images"] or "") + 6 * words + 12 * len(counts) + 100
