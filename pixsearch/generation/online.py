"""An engine that never stops: any thread brings requests and takes them back."""

from collections.abc import Callable

from pixsearch.generation.engine import Engine
from pixsearch.generation.events import Event
from pixsearch.generation.records import Request

Deliver = Callable[[Event], object]
"""Takes the events of one request in order, from the engine's thread; it must not block or raise.
`queue.SimpleQueue().put` is one."""


class OnlineEngine:
    """Runs an engine in a thread of its own.

        with OnlineEngine(engine) as online:
            events = queue.SimpleQueue()
            online.submit(Request(id="1", question="Who made this cup?", image=image), events.put)
            while not isinstance(event := events.get(), Finished):
                ...

    While it runs, nobody else uses the engine or its model.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def submit(self, request: Request, deliver: Deliver) -> None:
        """Have a request answered; it waits until there is room for it. From any thread.

        Raises:
            ValueError: the request cannot be answered (see `Engine.stream`).
            RuntimeError: the engine was closed, or has died of an error.
        """
        raise NotImplementedError

    def cancel(self, request_id: str) -> None:
        """End a request as `FailureKind.cancelled` at the next round; its slot is free at once.

        One that has ended, or was never there, is no error. From any thread.
        """
        raise NotImplementedError

    @property
    def num_waiting(self) -> int:
        """Requests that no slot has taken yet."""
        raise NotImplementedError

    @property
    def num_running(self) -> int:
        """Requests that are being answered."""
        raise NotImplementedError

    def close(self) -> None:
        """Cancel what is in flight and end the thread."""
        raise NotImplementedError

    def __enter__(self) -> "OnlineEngine":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
