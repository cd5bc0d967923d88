"""The one renderer, for training and inference: a conversation → ids, loss mask, token kinds.

What the model writes is tokenised with the special tokens; what comes from outside (questions and
passages) goes through `PlainTextEncoder` and can never yield one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from transformers import PreTrainedTokenizerFast

from pixsearch.config import QueryType
from pixsearch.queries import Passage
from pixsearch.tokens import PlainTextEncoder, TokenIds


class TokenKind(IntEnum):
    """Where a token of a sequence comes from. Made once, used by loss, logging and evaluation."""

    PROMPT = 0
    IMAGE = 1
    GENERATED = 2
    EVIDENCE = 3
    PAD = 4


@dataclass(frozen=True, kw_only=True)
class Text:
    """Free text; a user's question or words that the model writes."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Grounded:
    """A phrase that the model grounds: the phrase, then <seg>. Masks follow in this order."""

    phrase: str


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A search that the model writes, and the passages that came back.

    Attributes:
        text: the words of a text query, None for the two others.
        supervised: False if the search was forced upon the model, so that it is no target.
    """

    type: QueryType
    text: str | None = None
    passages: tuple[Passage, ...] = ()
    supervised: bool = True


Part = Text | Grounded | Searched


class Role(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, kw_only=True)
class Message:
    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Turns of user and assistant, the user's first; the image, if any, stands in the first."""

    messages: tuple[Message, ...]
    has_image: bool

    @classmethod
    def question(cls, text: str, *, has_image: bool) -> "Conversation":
        """A conversation of one question, to be answered."""
        message = Message(role=Role.USER, parts=(Text(text=text),))
        return cls(messages=(message,), has_image=has_image)


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """The fixed words around the turns. The default is LLaVA's `llava_v1` without system text.

    Attributes:
        restate_question: evidence ends with the question once more. A model that reads from left to
            right then knows what it is to find ("query-aware contextualization" of Liu et al. 2023,
            Lost in the Middle, section 4.2).
    """

    system: str = ""
    user: str = "USER:"
    assistant: str = "ASSISTANT:"
    restate_question: bool = False


@dataclass(kw_only=True)
class Rendered:
    """One tokenised conversation; the three lists have one entry per token.

    Attributes:
        supervised: True where the token is a target of the language loss.
    """

    input_ids: list[int] = field(default_factory=list)
    token_kind: list[TokenKind] = field(default_factory=list)
    supervised: list[bool] = field(default_factory=list)

    def extend(self, ids: Sequence[int], kind: TokenKind, *, supervised: bool = False) -> None:
        self.input_ids.extend(ids)
        self.token_kind.extend([kind] * len(ids))
        self.supervised.extend([supervised] * len(ids))

    def __len__(self) -> int:
        return len(self.input_ids)


class ChatRenderer:
    """Renders conversations for one tokenizer and one number of patches per image."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        ids: TokenIds,
        *,
        num_image_tokens: int,
        template: ChatTemplate | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.ids = ids
        self.num_image_tokens = num_image_tokens
        self.template = template or ChatTemplate()
        self._plain = PlainTextEncoder(tokenizer)

    def plain_ids(self, text: str) -> list[int]:
        """Ids of text from outside; never an added token."""
        return self._plain.encode(text)

    def render(self, conversation: Conversation) -> Rendered:
        """The whole conversation, as trained on.

        Only what the assistant itself writes is supervised: its text, <seg>, its searches up to
        `</search>`, and the end token; neither `<information>` nor the evidence is.
        """
        rendered = Rendered()
        question = ""
        for index, message in enumerate(conversation.messages):
            if message.role is Role.USER:
                question = _words_of(message)
                self._render_question(rendered, question, conversation, first=index == 0)
            else:
                self._render_answer(rendered, message, question)
        return rendered

    def render_prompt(self, conversation: Conversation) -> Rendered:
        """The conversation up to the point where the assistant speaks.

        Earlier answers are part of the prompt: nothing of them counts as generated or supervised.
        """
        if conversation.messages[-1].role is not Role.USER:
            raise ValueError("a prompt ends with a user's message; this one ends with an answer")
        history = self.render(conversation)
        rendered = Rendered()
        for token, kind in zip(history.input_ids, history.token_kind, strict=True):
            rendered.extend([token], kind if kind is TokenKind.IMAGE else TokenKind.PROMPT)
        return rendered

    def evidence_ids(
        self, passages: Sequence[Passage], *, question: str, max_tokens: int
    ) -> tuple[list[int], list[Passage]]:
        """`<information> passage passage … </information>`, cut by whole passages.

        Args:
            question: stands behind the passages if the template restates it.
            max_tokens: limit of the passages' tokens, nothing else counted. The first passage
                is cut at the limit rather than dropped, so that evidence is never empty by length.

        Returns:
            The ids, and the passages that they hold.
        """
        body: list[int] = []
        kept: list[Passage] = []
        for passage in passages:
            ids = self.plain_ids(passage.text)
            if kept and len(body) + len(ids) > max_tokens:
                break
            body.extend(ids)
            kept.append(passage)
        return self._enclosed(body[:max_tokens], question), kept

    def num_evidence_tokens(self, question: str) -> int:
        """Tokens of evidence without a passage: the tags, and the question if it is restated."""
        return len(self._enclosed([], question))

    def _enclosed(self, passage_ids: Sequence[int], question: str) -> list[int]:
        restated = self.plain_ids(question) if self.template.restate_question else []
        return [self.ids.information, *passage_ids, *restated, self.ids.information_end]

    def payload_ids(self, query_type: QueryType, text: str | None) -> list[int]:
        """`<search> payload </search>` as the model would write it."""
        if query_type is QueryType.region:
            payload = [self.ids.region]
        elif query_type is QueryType.image:
            payload = [self.ids.whole]
        else:
            payload = self.plain_ids(text or "")
        return [self.ids.search, *payload, self.ids.search_end]

    def answer_text(self, rendered: Rendered, *, after_last_search: bool = True) -> str:
        """The text that is scored: the generated words after the last evidence, no special tokens.

        With `after_last_search=False`, all that was generated.
        """
        start = 0
        if after_last_search and self.ids.information_end in rendered.input_ids:
            reversed_ids = rendered.input_ids[::-1]
            start = len(reversed_ids) - reversed_ids.index(self.ids.information_end)
        special = {*self.ids.never_in_text, self.ids.end}
        words = [
            token
            for token, kind in zip(
                rendered.input_ids[start:], rendered.token_kind[start:], strict=True
            )
            if kind is TokenKind.GENERATED and token not in special
        ]
        return self.tokenizer.decode(words, skip_special_tokens=True).strip()

    def _render_question(
        self, rendered: Rendered, question: str, conversation: Conversation, *, first: bool
    ) -> None:
        if first and self.ids.begin is not None:
            rendered.extend([self.ids.begin], TokenKind.PROMPT)
        if first and self.template.system:
            rendered.extend(self.plain_ids(self.template.system), TokenKind.PROMPT)
        rendered.extend(self.plain_ids(self.template.user), TokenKind.PROMPT)
        if first and conversation.has_image:
            rendered.extend([self.ids.image] * self.num_image_tokens, TokenKind.IMAGE)
        rendered.extend(self.plain_ids(question), TokenKind.PROMPT)
        rendered.extend(self.plain_ids(self.template.assistant), TokenKind.PROMPT)

    def _render_answer(self, rendered: Rendered, message: Message, question: str) -> None:
        for part in message.parts:
            match part:
                case Text(text=text):
                    ids = self.plain_ids(text)
                    rendered.extend(ids, TokenKind.GENERATED, supervised=True)
                case Grounded(phrase=phrase):
                    ids = [*self.plain_ids(phrase), self.ids.seg]
                    rendered.extend(ids, TokenKind.GENERATED, supervised=True)
                case Searched():
                    self._render_search(rendered, part, question)
        rendered.extend([self.ids.end], TokenKind.GENERATED, supervised=True)

    def _render_search(self, rendered: Rendered, part: Searched, question: str) -> None:
        payload = self.payload_ids(part.type, part.text)
        rendered.extend(payload, TokenKind.GENERATED, supervised=part.supervised)
        passages = [id for passage in part.passages for id in self.plain_ids(passage.text)]
        rendered.extend(self._enclosed(passages, question), TokenKind.EVIDENCE)


def _words_of(message: Message) -> str:
    """The text of a user's message."""
    for part in message.parts:
        if not isinstance(part, Text):
            raise ValueError(f"a user's message holds text only, not {type(part).__name__}")
    return " ".join(part.text for part in message.parts)
