"""A searcher whose knowledge base and indexes are behind a server."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from pixsearch.config import ClientOptions, RegionCrop
from pixsearch.queries import Passage, Query, SearchFailed, check_k
from pixsearch.retrieval.connection import MEBI, Connection
from pixsearch.retrieval.info import SourceInfo
from pixsearch.retrieval.wire import passages_of, query_parts, request_of


class RemoteSearcher:
    """Asks `scripts/serve_retriever.py`. Finds what a `Searcher` there finds.

        with RemoteSearcher("http://127.0.0.1:8000") as searcher:
            searcher.search([Query.of_text("who made it?")], k=3)

    Safe for several threads. Nothing is sent before the first call.

    Raises:
        ValueError: the URL is none.
    """

    def __init__(self, url: str, options: ClientOptions | None = None) -> None:
        self._options = options or ClientOptions()
        self._connection = Connection(url, self._options)

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
        for parts in self._by_size([query_parts(query) for query in queries]):
            body = json.dumps(request_of(parts, k=k, region_crop=region_crop)).encode()
            read = partial(passages_of, num_queries=len(parts), k=k)
            found += self._connection.post("/retrieve", body, read)
        return found

    def info(self) -> SourceInfo:
        """What the server searches.

        Raises:
            SearchFailed: it does not answer, or is another kind of server.
        """
        return self._connection.get("/info", SourceInfo.from_json)

    def close(self) -> None:
        """Let go of the pooled connections."""
        self._connection.close()

    def __enter__(self) -> "RemoteSearcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _by_size(self, parts: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """Queries in groups that each fit one request."""
        limit = self._options.max_request_mib * MEBI
        group: list[dict[str, Any]] = []
        size = 0
        for number, part in enumerate(parts):
            part_size = _most_bytes(part)
            if part_size > limit:
                raise SearchFailed(
                    f"query {number} takes {part_size / MEBI:.1f} MiB, "
                    f"retrieval.client.max_request_mib={self._options.max_request_mib}",
                    is_temporary=False,
                )
            if group and size + part_size > limit:
                yield group
                group, size = [], 0
            group.append(part)
            size += part_size
        if group:
            yield group


def _most_bytes(part: dict[str, Any]) -> int:
    """Of a query in JSON, at most."""
    counts = part["regions"]["counts"] if part["regions"] else ()
    words = len(part["queries"] or "") + len(part["questions"] or "")
    return len(part["images"] or "") + 6 * words + 12 * len(counts) + 100
