"""An engine that never stops: any thread brings requests and takes them back."""

import logging
import threading
from collections import deque
from collections.abc import Callable

from pixsearch.generation.engine import Engine
from pixsearch.generation.events import Event, Finished
from pixsearch.generation.records import Request
from pixsearch.generation.row import Row
from pixsearch.generation.session import Session

logger = logging.getLogger(__name__)

Deliver = Callable[[Event], object]
"""Takes the events of one request in order, from the engine's thread; it must not block. If it
raises, the request is cancelled and it is told nothing more. `queue.SimpleQueue().put` is one."""


class OnlineEngine:
    """Runs an engine in a thread of its own.

        with OnlineEngine(engine) as online:
            events = queue.SimpleQueue()
            online.submit(Request(id="1", question="Who made this cup?", image=image), events.put)
            while not isinstance(event := events.get(), Finished):
                ...

    While it runs, nobody else uses the engine or its model. An error that is no request's own ends
    them all, and the engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._arrived: deque[Row] = deque()
        self._cancelled: list[str] = []
        self._listeners: dict[str, Deliver] = {}  # of requests that have not ended
        self._num_running = 0
        self._closed = False
        self._died_of: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request, deliver: Deliver) -> None:
        """Have a request answered; it waits until there is room for it. From any thread.

        Raises:
            ValueError: the request cannot be answered (see `Engine.open`), or one that has not
                ended has the same id.
            RuntimeError: the engine was closed, or has died of an error.
        """
        row = self._engine.open(request)
        with self._lock:
            if self._closed or self._died_of is not None:
                raise RuntimeError(f"the engine answers no more: {self._died_of or 'closed'}")
            if request.id in self._listeners:
                raise ValueError(f"request {request.id}: one with this id has not ended")
            self._listeners[request.id] = deliver
            self._arrived.append(row)
        self._wake.set()

    def cancel(self, request_id: str) -> None:
        """End a request as `FailureKind.cancelled` before the next round; its slot is then free.

        One that has ended, or was never there, is no error. From any thread.
        """
        with self._lock:
            self._cancelled.append(request_id)
        self._wake.set()

    @property
    def num_waiting(self) -> int:
        """Requests that have not entered."""
        return self.num_unfinished - self._num_running

    @property
    def num_running(self) -> int:
        """Requests that are being answered."""
        return self._num_running

    @property
    def num_unfinished(self) -> int:
        """Requests that have not ended."""
        return len(self._listeners)

    @property
    def error(self) -> Exception | None:
        """What the engine has died of, if it has."""
        return self._died_of

    def close(self) -> None:
        """Cancel what has not ended, and wait for the thread's end."""
        with self._lock:
            self._closed = True
        self._wake.set()
        self._thread.join()

    def __enter__(self) -> "OnlineEngine":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _run(self) -> None:
        with self._engine.session(self._wake, tells_all=True) as session:
            try:
                while self._admit(session):
                    self._turn(session)
            except Exception as error:
                logger.exception("the engine has died")
                with self._lock:
                    self._died_of = error
                    self._take_in(session)
                session.fail_all(error)
            self._deliver(session)

    def _turn(self, session: Session) -> None:
        """One round, or a rest where there is nothing to do."""
        if session.is_idle:
            self._deliver(session)
            self._wake.wait()
            self._wake.clear()
        else:
            session.round()
            self._deliver(session)

    def _admit(self, session: Session) -> bool:
        """Bring the session what has arrived; False if it is to end."""
        with self._lock:
            self._take_in(session)
            cancelled, self._cancelled = self._cancelled, []
            if self._closed:
                cancelled = list(self._listeners)
        for request_id in cancelled:
            session.cancel(request_id)
        return not self._closed

    def _take_in(self, session: Session) -> None:
        while self._arrived:
            session.add(self._arrived.popleft())

    def _deliver(self, session: Session) -> None:
        self._num_running = session.num_running
        for event in session.take_events():
            if isinstance(event, Finished):
                with self._lock:
                    deliver = self._listeners.pop(event.request_id)
            else:
                deliver = self._listeners[event.request_id]
            try:
                deliver(event)
            except Exception:  # a caller's code, which loses no other its events
                logger.exception("request %s: its events are told to nobody", event.request_id)
                self._stop_telling(event)

    def _stop_telling(self, event: Event) -> None:
        """Cancel a request that nobody listens to; its id is taken until it has ended."""
        if isinstance(event, Finished):
            return
        with self._lock:
            self._listeners[event.request_id] = _tell_nobody
            self._cancelled.append(event.request_id)
        self._wake.set()


def _tell_nobody(event: Event) -> None:
    """The listener of a request that has none any longer."""
