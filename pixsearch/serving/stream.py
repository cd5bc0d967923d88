"""A reply piece by piece, which ends however the client behaves."""

from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from pixsearch.config import ChatServerOptions
from pixsearch.serving.deadline import timeout_at
from pixsearch.serving.telling import as_event, as_openai_error
from pixsearch.web.refusals import refusal

TELLING_SECONDS = 1.0  # behind the deadline, for a client that reads to be told of it


class EventStream(StreamingResponse):
    """Server-sent events until the last, until the client goes away, or until the deadline.

    The status is sent before the first piece, so what fails later is told as a piece. A client
    that does not read is told nothing: its connection is closed behind the deadline.

    Args:
        pieces: the events; closed in every case, also where no piece was taken.

    Attributes:
        at_end: what is done in the end, in every case once the response is called.
        outcome: the status that a reply in one piece would have had; it is known at the end.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        options: ChatServerOptions,
        *,
        deadline: float,
        at_end: ExitStack,
    ) -> None:
        self._pieces = pieces
        self._options = options
        self._deadline = deadline
        self.at_end = at_end
        self.outcome = 499  # the client went away, unless it ends otherwise
        self._events = self._told()
        super().__init__(self._events, media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.at_end:
            async with aclosing(self._events):  # it may not have begun
                try:
                    async with timeout_at(self._deadline + TELLING_SECONDS, self._options):
                        await super().__call__(scope, receive, send)
                except TimeoutError:  # the client does not read
                    self.outcome = 504

    async def _told(self) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._pieces):
                while (piece := await self._next()) is not None:
                    yield piece
            self.outcome = 200
        except Exception as error:  # the table of refusals has a status for each
            refused = refusal(error)
            self.outcome = refused.status_code
            yield as_event(as_openai_error(refused))
        yield b"data: [DONE]\n\n"

    async def _next(self) -> bytes | None:
        async with timeout_at(self._deadline, self._options):
            return await anext(self._pieces, None)
