"""The time that a request has."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pixsearch.config import ChatServerOptions


@asynccontextmanager
async def timeout_at(deadline: float, options: ChatServerOptions) -> AsyncIterator[None]:
    """The block, if it ends before the deadline, of `time.monotonic`.

    Not around a `yield` of pieces: the timeout would strike whoever takes them.

    Raises:
        TimeoutError: it did not; one line.
    """
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            yield
    except TimeoutError as error:
        raise TimeoutError(f"it took longer than {options.timeout_seconds:g} s") from error
