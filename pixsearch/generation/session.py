"""Rows from when they are added to their end, round by round."""

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pixsearch.config import GenerationOptions
from pixsearch.generation.choosing import Choosing
from pixsearch.generation.events import Cancelled, Event, Failure, FailureKind, not_finite
from pixsearch.generation.features import IMAGES_PER_BATCH, RequestImages
from pixsearch.generation.forwards import Forwards, count_forward
from pixsearch.generation.masks import MaskDecoding
from pixsearch.generation.records import EngineStats, SearchRecord
from pixsearch.generation.row import Row
from pixsearch.generation.searching import Searching
from pixsearch.generation.slots import Slots
from pixsearch.generation.spans import SpanTagging
from pixsearch.generation.telling import Telling

ROWS_PER_SLOT = 4  # in flight, from which on none is drawn: who waits holds features of an image
FORWARD_TOKENS = 16_384  # of one forward, from which on no further prompt or evidence joins it


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """What computes; a session decides for which rows and when."""

    images: RequestImages
    forwards: Forwards
    choosing: Choosing
    spans: SpanTagging
    masks: MaskDecoding
    searching: Searching
    slots: Slots
    telling: Telling


class Session:
    """Rows in flight.

    A row waits in a queue; enters when fewer than `batch_size` rows want to be computed; is
    computed, with a slot and one of `batch_size` seats; leaves its seat while its search is on its
    way, and its slot as well if that takes longer than `keep_slot_seconds` and another row has
    none; and ends. Seats go to the rows that entered first, as slots do, so that the oldest always
    goes on.

    Not for several threads.

    Args:
        wake: is set when a search has come back, or by whoever wants the session to look up.
    """

    def __init__(
        self, parts: Parts, options: GenerationOptions, stats: EngineStats, wake: threading.Event
    ) -> None:
        self._parts = parts
        self._num_seats = options.batch_size
        self._num_slots = options.batch_size + options.waiting_slots
        self._keep_slot_seconds = options.keep_slot_seconds
        self._stats = stats
        self._wake = wake
        self._queue: deque[Row] = deque()
        self._flight: dict[str, Row] = {}  # entered, by the id of its request
        self._active: list[Row] = []  # of those the ones that wait for no search
        self._num_entered = 0

    @property
    def is_idle(self) -> bool:
        return not self._queue and not self._flight

    @property
    def num_waiting(self) -> int:
        """Rows that have not entered."""
        return len(self._queue)

    @property
    def num_running(self) -> int:
        """Rows that have entered."""
        return len(self._flight)

    @property
    def wants_more(self) -> bool:
        """Whether rows that are added now enter soon, or have images to be encoded with others."""
        is_full = len(self._flight) >= ROWS_PER_SLOT * self._num_slots
        return not is_full and len(self._queue) < max(IMAGES_PER_BATCH, self._num_seats)

    def add(self, row: Row) -> None:
        """Queue a row.

        Raises:
            ValueError: one that has not ended has the same id.
        """
        name = row.request.id
        if name in self._flight or any(name == other.request.id for other in self._queue):
            raise ValueError(f"two requests share an id, {name}; ids must be unique")
        self._queue.append(row)

    def cancel(self, request_id: str) -> None:
        """End a row, if it has not ended."""
        row = self._flight.get(request_id)
        if row is None:
            row = next((one for one in self._queue if one.request.id == request_id), None)
        if row is not None:
            error = Cancelled(f"request {request_id} was cancelled")
            self._fail(row, Failure(kind=FailureKind.cancelled, error=error))

    def fail_all(self, error: Exception) -> None:
        """End all rows by an error that is not theirs, after which nothing is computed."""
        for row in [*self._flight.values(), *self._queue]:
            self._fail(row, Failure(kind=FailureKind.error, error=error), is_clean=True)

    @torch.no_grad()
    def round(self) -> None:
        """Compute one token of each seated row.

        1. evidence that has come is injected; 2. rows enter and take free seats; 3. all that is
        pending of seated rows is processed in one forward; 4. each takes its next token; 5. rows
        that closed a search ask; 6. those that ended leave. If no row can be computed and there is
        nothing to tell, this waits for the first search to come back, or to take long.
        """
        self._take_evidence()
        yielding = self._yielding()
        self._enter(yielding)
        rows = self._parts.slots.place(self._take_seats(), yielding=yielding)
        if not rows:
            self._await_evidence(yielding)
            return
        count_forward(rows, self._stats)
        states = self._parts.forwards.run(rows, self._parts.slots.cache)
        for row in self._parts.choosing.append_next(rows, states):
            self._fail(row, not_finite(row.request.id, "its logits are"))
        alive = [row for row in rows if row.slot is not None]
        self._parts.telling.tokens(alive)
        self._ask([row for row in alive if row.awaits_evidence])
        self._finish([row for row in alive if row.finish_reason is not None])

    def take_events(self) -> list[Event]:
        """What has happened since the last time."""
        return self._parts.telling.take()

    def close(self) -> None:
        """Send no further searches."""
        self._parts.searching.pool.close()

    def _take_evidence(self) -> None:
        for row, taken in self._parts.searching.take_answered().items():
            if isinstance(taken, Failure):
                self._fail(row, taken)
            else:
                self._parts.telling.evidence(row, taken)
                self._active.append(row)

    def _yielding(self) -> set[Row]:
        """Rows whose search takes so long that others may have their slots."""
        asked_before = time.monotonic() - self._keep_slot_seconds
        return {row for row in self._flight.values() if row.asked_at <= asked_before}

    def _enter(self, yielding: set[Row]) -> None:
        """Let rows in while they will be computed, or can at least ask what they begin with."""
        entered = []
        while self._queue and self._has_place(yielding):
            row = self._queue.popleft()
            row.entered = self._num_entered
            self._num_entered += 1
            self._flight[row.request.id] = row
            entered.append(row)
            if not row.awaits_evidence:
                self._active.append(row)
        for index, row in enumerate(entered):
            self._encode(row, [*entered[index + 1 :], *self._queue])
        alive = [row for row in entered if row.request.id in self._flight]
        self._ask([row for row in alive if row.awaits_evidence])

    def _has_place(self, yielding: set[Row]) -> bool:
        is_seat_free = len(self._active) < self._num_seats
        return is_seat_free and len(self._flight) - len(yielding) < self._num_slots

    def _encode(self, row: Row, upcoming: Sequence[Row]) -> None:
        try:
            row.features = self._parts.images.features_of(
                row.request, [other.request for other in upcoming]
            )
        except torch.AcceleratorError:
            raise
        except Exception as error:  # of whatever kind: an image that fails alone is its row's
            self._fail(row, Failure(kind=FailureKind.error, error=error))

    def _take_seats(self) -> list[Row]:
        """The rows of this round, if the cache has room for them."""
        self._active.sort(key=lambda row: row.entered)
        seated: list[Row] = []
        tokens = 0
        for row in self._active:
            if len(seated) == self._num_seats:
                break
            if row.num_pending == 1 or tokens < FORWARD_TOKENS:
                seated.append(row)
                tokens += row.num_pending
        return seated

    def _await_evidence(self, yielding: set[Row]) -> None:
        """Sleep until a search has come back, is late, or takes so long that a slot is free."""
        if not self._flight or self._parts.telling.has_events:
            return  # who is to be told does not wait for others' searches
        pool = self._parts.searching.pool
        pool.hurry()
        start = time.monotonic()
        until = min(pool.next_timeout, self._next_yielding(yielding))
        self._wake.wait(None if until == math.inf else max(0.0, until - start))
        self._wake.clear()
        self._stats.idle_seconds += time.monotonic() - start

    def _next_yielding(self, yielding: set[Row]) -> float:
        """When one more row yields its slot, if another lacks one; infinite if none does."""
        if not (self._active or self._queue):
            return math.inf
        keeping = set(self._flight.values()) - yielding
        return min((row.asked_at for row in keeping), default=math.inf) + self._keep_slot_seconds

    def _ask(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        for row, asked in self._parts.searching.ask(rows).items():
            if row in self._active:
                self._active.remove(row)
            if isinstance(asked, SearchRecord):
                self._parts.telling.search(row, asked)
            else:
                self._fail(row, asked)

    def _finish(self, rows: Sequence[Row]) -> None:
        """End rows that are complete; the masks still missing are decoded together."""
        if not rows:
            return
        self._parts.spans.read(rows)
        broken = self._parts.masks.decode(phrase for row in rows for phrase in row.grounded)
        for row in rows:
            if any(phrase in broken for phrase in row.grounded):
                self._fail(row, not_finite(row.request.id, "a mask is"))
            else:
                self._parts.telling.end(row)
                self._leave(row)

    def _fail(self, row: Row, failure: Failure, *, is_clean: bool = False) -> None:
        self._stats.failures += 1
        self._parts.telling.end(row, failure)
        self._leave(row, is_clean=is_clean)

    def _leave(self, row: Row, *, is_clean: bool = True) -> None:
        """Take a row out, wherever it is."""
        self._parts.searching.forget(row)
        self._parts.slots.release(row, is_clean=is_clean)
        self._flight.pop(row.request.id, None)
        for held in (self._queue, self._active):
            if row in held:
                held.remove(row)
        row.forget()
