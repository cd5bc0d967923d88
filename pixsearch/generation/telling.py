"""The events of a row, as whoever listens is told them."""

from collections.abc import Callable, Sequence

from pixsearch.chat import ChatRenderer
from pixsearch.generation.events import (
    Event,
    EvidenceEvent,
    Failure,
    Finished,
    MaskEvent,
    SearchStarted,
    TokenEvent,
)
from pixsearch.generation.records import SearchRecord
from pixsearch.generation.row import GroundedPhrase, Row

UNFINISHED = "\ufffd"  # what a tokenizer writes for a character of which bytes are missing
WINDOW = 16  # tokens that are decoded again, so that spaces between words come out right


class GrowingText:
    """Words that come token by token."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._told = ""

    def add(self, token: int) -> str:
        """What the text grows by.

        >>> text = GrowingText(lambda ids: " ".join("word" for _ in ids))
        >>> [text.add(token) for token in (7, 8)]
        ['word', ' word']
        """
        self._ids.append(token)
        whole = self._decode(self._ids)
        if whole.endswith(UNFINISHED):
            return ""
        piece = whole[len(self._told) :]
        if len(self._ids) > WINDOW:
            self._ids = self._ids[-WINDOW // 2 :]
            whole = self._decode(self._ids)
        self._told = whole
        return piece

    def rest(self) -> str:
        """What was held back, where the text ends with a character that is not complete."""
        return self._decode(self._ids)[len(self._told) :]


class Telling:
    """Collects events until they are taken.

    Args:
        tells_all: tell what happens on the way too, not the ends alone.
        with_mask_logits: trajectories hold the logits of their masks.
    """

    def __init__(
        self, renderer: ChatRenderer, *, tells_all: bool, with_mask_logits: bool = False
    ) -> None:
        self._renderer = renderer
        self._tells_all = tells_all
        self._with_mask_logits = with_mask_logits
        self._special = {*renderer.ids.never_in_text, renderer.ids.end}
        self._texts: dict[Row, GrowingText] = {}
        self._masks: set[GroundedPhrase] = set()
        self._events: list[Event] = []

    @property
    def has_events(self) -> bool:
        """Whether there are events that were not taken."""
        return bool(self._events)

    def take(self) -> list[Event]:
        """The events since the last time."""
        taken, self._events = self._events, []
        return taken

    def tokens(self, rows: Sequence[Row]) -> None:
        """Each of these rows has got a token."""
        if not self._tells_all:
            return
        for row in rows:
            token = row.last_sampled
            is_special = token in self._special
            text = "" if is_special else self._text_of(row).add(token)
            if row.finish_reason is not None:
                text += self._text_of(row).rest()
            event = TokenEvent(
                request_id=row.request.id, token=token, text=text, in_query=row.is_in_query
            )
            self._events.append(event)

    def search(self, row: Row, record: SearchRecord) -> None:
        """A row's query is on its way."""
        if self._tells_all:
            self.masks(row)
            self._events.append(
                SearchStarted(
                    request_id=row.request.id,
                    type=record.type,
                    text=record.text,
                    mask=record.mask,
                )
            )

    def evidence(self, row: Row, record: SearchRecord) -> None:
        """A row's search has come back."""
        if self._tells_all:
            self._texts.pop(row, None)
            self._events.append(EvidenceEvent(request_id=row.request.id, record=record))

    def masks(self, row: Row) -> None:
        """Tell the masks of a row that are decoded and not told yet."""
        if not self._tells_all:
            return
        for phrase in row.grounded:
            if phrase.mask is not None and phrase not in self._masks:
                self._masks.add(phrase)
                grounded = row.grounded_record(phrase, self._renderer)
                self._events.append(MaskEvent(request_id=row.request.id, grounded=grounded))

    def end(self, row: Row, failure: Failure | None = None) -> None:
        """A row has ended; with a failure, or with all its masks decoded."""
        trajectory = None
        if failure is None:
            self.masks(row)
            trajectory = row.trajectory(self._renderer, with_mask_logits=self._with_mask_logits)
        self._texts.pop(row, None)
        self._masks.difference_update(row.grounded)
        self._events.append(
            Finished(request_id=row.request.id, trajectory=trajectory, failure=failure)
        )

    def _text_of(self, row: Row) -> GrowingText:
        if row not in self._texts:
            self._texts[row] = GrowingText(self._renderer.tokenizer.decode)
        return self._texts[row]
