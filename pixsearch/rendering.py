"""A tokenised conversation, and how one is written piece by piece."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from pixsearch.tokens import Behind, PlainTextEncoder


class TokenKind(IntEnum):
    """Where a token of a sequence comes from. Made once, used by loss, logging and evaluation."""

    PROMPT = 0
    IMAGE = 1
    GENERATED = 2
    EVIDENCE = 3
    PAD = 4


class SpanTag(IntEnum):
    """What a token is to the phrases that are grounded, as PLUM numbers it."""

    OUTSIDE = 0
    BEGIN = 1
    INSIDE = 2


@dataclass(kw_only=True)
class Rendered:
    """One tokenised conversation; three of the lists have one entry per token.

    Attributes:
        supervised: True where the token is a target of the language loss.
        spans: of each grounded phrase its first token and the one behind its last.
    """

    input_ids: list[int] = field(default_factory=list)
    token_kind: list[TokenKind] = field(default_factory=list)
    supervised: list[bool] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)

    @property
    def span_tags(self) -> list[SpanTag]:
        """One per token.

        >>> [int(tag) for tag in Rendered(input_ids=[7, 8, 9, 5], spans=[(1, 3)]).span_tags]
        [0, 1, 2, 0]
        """
        tags = [SpanTag.OUTSIDE] * len(self.input_ids)
        for start, end in self.spans:
            tags[start:end] = [SpanTag.BEGIN] + [SpanTag.INSIDE] * (end - start - 1)
        return tags

    def extend(self, ids: Sequence[int], kind: TokenKind, *, supervised: bool = False) -> None:
        self.input_ids.extend(ids)
        self.token_kind.extend([kind] * len(ids))
        self.supervised.extend([supervised] * len(ids))

    def __len__(self) -> int:
        return len(self.input_ids)


class Writer:
    """Writes one sequence. Neighbouring texts of one kind are tokenised as one."""

    def __init__(self, encoder: PlainTextEncoder, added_tokens: Mapping[str, int]) -> None:
        self.rendered = Rendered()
        self._encoder = encoder
        self._added_tokens = added_tokens
        self._behind = Behind.nothing
        self._text = ""
        self._phrases: list[tuple[int, int]] = []  # places in `_text`
        self._kind, self._supervised = TokenKind.PROMPT, False

    def text(self, text: str, kind: TokenKind, *, supervised: bool = False) -> None:
        """Text from outside, or of the model; what looks like an added token is none."""
        if (kind, supervised) != (self._kind, self._supervised):
            self.finish()
            self._kind, self._supervised = kind, supervised
        self._text += text

    def words(self, text: str, kind: TokenKind, *, supervised: bool = False) -> None:
        """Text that stands apart from the text before it by a space at least."""
        same = (kind, supervised) == (self._kind, self._supervised)
        joined = same and self._text and not self._text[-1].isspace() and not text[:1].isspace()
        self.text(f" {text}" if joined else text, kind, supervised=supervised)

    def phrase(self, phrase: str, *, supervised: bool) -> None:
        """Words of the model that are grounded."""
        self.words(phrase, TokenKind.GENERATED, supervised=supervised)
        words = phrase.strip()
        if not words:
            raise ValueError("a grounded phrase has no words: write what the mask shows")
        start = self._text.rindex(words)
        self._phrases.append((start, start + len(words)))

    def ids(self, ids: Sequence[int], kind: TokenKind, *, supervised: bool = False) -> None:
        """Tokens as they are. Blanks in front of them, with no words, are left out."""
        if self._text.isspace():
            self._text = ""
        self.finish()
        self.rendered.extend(ids, kind, supervised=supervised)
        self._behind = Behind.token

    def fixed(self, text: str) -> None:
        """Words of the template: the tokenizer's added tokens in them are tokens."""
        longest_first = sorted(self._added_tokens, key=len, reverse=True)
        pattern = "|".join(re.escape(token) for token in longest_first)
        for piece in re.split(f"({pattern})", text) if pattern else [text]:
            if piece in self._added_tokens:
                self.finish()
                self.rendered.extend([self._added_tokens[piece]], TokenKind.PROMPT)
                self._behind = Behind.token
            elif piece:
                self.text(piece, TokenKind.PROMPT)

    def finish(self) -> Rendered:
        """Tokenise what is still pending."""
        if self._text:
            tokens = self._encoder.encode_with_places(self._text, self._behind)
            self._note_spans([(start, end) for _, start, end in tokens])
            ids = [token for token, _, _ in tokens]
            self.rendered.extend(ids, self._kind, supervised=self._supervised)
            self._behind = Behind.text
            self._text = ""
        return self.rendered

    def _note_spans(self, places: Sequence[tuple[int, int]]) -> None:
        """The tokens of each pending phrase: those that stand for any of its characters."""
        first = len(self.rendered)
        for start, end in self._phrases:
            own = [i for i, place in enumerate(places) if place[0] < end and place[1] > start]
            self.rendered.spans.append((first + own[0], first + own[-1] + 1))
        self._phrases = []
