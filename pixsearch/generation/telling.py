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
    """Words that come token by token.

    Args:
        end_words: with which the text is over; neither they nor what stands behind them is told.
    """

    def __init__(self, decode: Callable[[list[int]], str], end_words: str = "") -> None:
        self._decode = decode
        self._end_words = end_words
        self._ids: list[int] = []
        self._told = ""  # what the ids are in words, but for a character that is not complete
        self._held = ""  # begins with what are the end words, or may become them

    def add(self, token: int) -> str:
        """What the text grows by.

        >>> text = GrowingText(lambda ids: " ".join("word" for _ in ids))
        >>> [text.add(token) for token in (7, 8)]
        ['word', ' word']
        """
        text = self._held + self._grown(token)
        end = _end_of(text, self._end_words)
        self._held = text[end:]
        return text[:end]

    def rest(self) -> str:
        """What was held back, where the text ends with a character that is not complete, or with a
        part of the end words."""
        text = self._held + self._decode(self._ids)[len(self._told) :]
        return text.partition(self._end_words)[0] if self._end_words else text

    def flush(self) -> str:
        """`rest`, after which the text goes on with nothing held back."""
        text = self.rest()
        self._held, self._told = "", self._decode(self._ids)
        return text

    def _grown(self, token: int) -> str:
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


def _end_of(text: str, end_words: str) -> int:
    """Where the end words begin in a text, or may once it grows; its length if nowhere.

    >>> [_end_of(text, "<|end|>") for text in ("cup<|end|>.", "cup<|e", "cup<.")]
    [3, 3, 5]
    """
    places = (
        place
        for place in range(len(text) if end_words else 0)
        if text.startswith(end_words, place) or end_words.startswith(text[place:])
    )
    return next(places, len(text))


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
        self._answers: dict[Row, GrowingText] = {}
        self._queries: dict[Row, GrowingText] = {}  # of the searches that are open
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
            held = ""  # words of the answer, which a search interrupts
            if token == self._renderer.ids.search and row in self._answers:
                held = self._answers[row].flush()
            if row.finish_reason is not None or row.awaits_evidence:
                text += self._text_of(row).rest()
            event = TokenEvent(
                request_id=row.request.id,
                token=token,
                text=held + text,
                in_query=row.is_in_query and not held,
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
            self._queries.pop(row, None)
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
        self._answers.pop(row, None)
        self._queries.pop(row, None)
        self._masks.difference_update(row.grounded)
        self._events.append(
            Finished(request_id=row.request.id, trajectory=trajectory, failure=failure)
        )

    def _text_of(self, row: Row) -> GrowingText:
        """The words that a row is at: a query, or its answer, which goes on behind the evidence."""
        texts = self._queries if row.is_in_query else self._answers
        if row not in texts:
            end_words = "" if row.is_in_query else self._renderer.template.end_words
            texts[row] = GrowingText(self._renderer.tokenizer.decode, end_words)
        return texts[row]
