"""The client of Qdrant, and what its errors mean."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from pixsearch.config import QdrantOptions
from pixsearch.queries import SearchFailed

# Statuses: 4xx are the request's fault, such as a wrong key, but for two.
OF_THE_CLUSTER = 500
MAY_PASS = (408, 429)


def new_client(options: QdrantOptions) -> QdrantClient:
    """A client of the cluster, or of an embedded collection.

    Raises:
        ValueError: another process has the embedded one open.
    """
    if options.url is None:
        return _embedded(options)
    return QdrantClient(
        url=options.url,
        api_key=os.environ.get(options.key_variable) or None,
        timeout=options.timeout_seconds,
        check_compatibility=False,  # it asks at once, and warns where the first search tells more
    )


@contextmanager
def answering(options: QdrantOptions) -> Iterator[None]:
    """What comes of a cluster that is away or refuses is a search that failed."""
    where = f"Qdrant at {options.url or options.path}"
    try:
        yield
    except ResponseHandlingException as error:
        raise SearchFailed(f"{where} does not answer: {_one_line(error)}") from error
    except ResourceExhaustedResponse as error:
        raise SearchFailed(
            f"{where} is busy: {_one_line(error)}", retry_after=float(error.retry_after_s)
        ) from error
    except UnexpectedResponse as error:
        status = error.status_code or 0
        raise SearchFailed(
            f"{where} refuses: {_one_line(error)}",
            is_temporary=status >= OF_THE_CLUSTER or status in MAY_PASS,
        ) from error


def _embedded(options: QdrantOptions) -> QdrantClient:
    try:
        return QdrantClient(path=options.path)
    except RuntimeError as error:  # so does the library tell that the folder is locked
        raise ValueError(
            f"retrieval.qdrant.path={options.path}: another process has it open; wait for it, or "
            "serve it from there (scripts/serve_retriever.py)"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
