"""One request between the engine's thread and the server's event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType

from pixsearch.generation.events import Event, Failure, FailureKind, Finished
from pixsearch.generation.online import OnlineEngine
from pixsearch.generation.records import Request, Trajectory
from pixsearch.queries import SearchFailed


class AnswerFailed(Exception):
    """A request ended without an answer, by no fault of whoever asked."""


class Conversation:
    """The events of one request; leaving it, however that happens, frees the request's slot.

    async with Conversation(online, request) as conversation:
        async for event in conversation.events():
            ...
    """

    def __init__(self, online: OnlineEngine, request: Request) -> None:
        self._online = online
        self._request = request
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> "Conversation":
        """Hand the request in.

        Raises:
            ValueError: it cannot be answered, e.g. it is too long.
        """
        submit = asyncio.to_thread(self._online.submit, self._request, self._deliver)
        submitting = asyncio.ensure_future(submit)
        try:
            await asyncio.shield(submitting)
        except asyncio.CancelledError:  # a thread that runs cannot be stopped
            submitting.add_done_callback(self._take_back)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._online.cancel(self._request.id)  # one that has ended is no error

    def _take_back(self, submitting: asyncio.Future[None]) -> None:
        """Cancel a request that was handed in when nobody waited for it any more."""
        if not submitting.cancelled():
            submitting.exception()  # asyncio warns of one that nobody has looked at
        self._online.cancel(self._request.id)

    async def events(self) -> AsyncIterator[Event]:
        """All events up to `Finished`.

        Raises:
            Exception: what the refusals have a status for, if there is no answer.
        """
        while True:
            event = await self._events.get()
            if isinstance(event, Finished) and event.failure is not None:
                raise _refused(event.failure) from event.failure.error
            yield event
            if isinstance(event, Finished):
                return

    async def trajectory(self) -> Trajectory:
        """The finished answer.

        Raises:
            Exception: as `events`.
        """
        async for event in self.events():
            if isinstance(event, Finished):
                return event.result()
        raise AssertionError("events end in Finished")

    def _deliver(self, event: Event) -> None:
        """From the engine's thread."""
        with suppress(RuntimeError):  # the server has stopped and closed the loop: nobody listens
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)


def _refused(failure: Failure) -> Exception:
    """The error by which the client is told; `FailureKind` says whose fault it is."""
    if isinstance(failure.error, SearchFailed):
        return failure.error
    if failure.kind is FailureKind.empty_mask:
        return ValueError(failure.reason)
    return AnswerFailed(failure.reason)
