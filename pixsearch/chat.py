"""The one renderer, for training and inference: a conversation → ids, loss mask, token kinds.

What the model writes is tokenised with the special tokens; what comes from outside (questions and
passages) goes through `PlainTextEncoder` and can never yield one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from transformers import PreTrainedTokenizerFast

from pixsearch.chat_templates import ChatTemplate
from pixsearch.config import GroundBy, QueryType
from pixsearch.queries import Passage
from pixsearch.rendering import Rendered, TokenKind, Writer
from pixsearch.tokens import Behind, PlainTextEncoder, TokenIds


@dataclass(frozen=True, kw_only=True)
class Text:
    """Free text; a user's question or words that the model writes."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Grounded:
    """A phrase that the model grounds; masks follow in the phrases' order.

    Grounded by `seg`, it is written with <seg> behind it; by `span`, its words are tagged.
    """

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
    """
    Attributes:
        supervised: False for an answer that is context and no target.
    """

    role: Role
    parts: tuple[Part, ...]
    supervised: bool = True


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


class ChatRenderer:
    """Renders conversations for one tokenizer and one template.

    Args:
        num_image_tokens: placeholders of an image, for backbones that give each the same number;
            for others the caller of `render` gives the number.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        ids: TokenIds,
        *,
        num_image_tokens: int | None = None,
        template: ChatTemplate | None = None,
        ground_by: GroundBy = GroundBy.seg,
    ) -> None:
        self.tokenizer = tokenizer
        self.ids = ids
        self.ground_by = ground_by
        self.num_image_tokens = num_image_tokens
        self.template = template or ChatTemplate()
        self._plain = PlainTextEncoder(tokenizer)
        self._added_tokens = tokenizer.get_added_vocab()

    def plain_ids(self, text: str) -> list[int]:
        """Ids of text from outside that stands behind a token; never an added token."""
        return self._plain.encode(text)

    def render(
        self, conversation: Conversation, *, num_image_tokens: int | None = None
    ) -> Rendered:
        """The whole conversation, as trained on.

        Only what the assistant itself writes is supervised: its text, <seg>, its searches up to
        `</search>`, and the end token; neither `<information>` nor the evidence is.

        Raises:
            ValueError: the number of placeholders is neither given nor the same for every image.
        """
        writer = Writer(self._plain, self._added_tokens)
        if self.ids.begin is not None:
            writer.rendered.extend([self.ids.begin], TokenKind.PROMPT)
        writer.fixed(self.template.system)
        question = ""
        num_placeholders = self._num_placeholders(conversation, num_image_tokens)
        for message in conversation.messages:
            if message.role is Role.USER:
                question = _words_of(message)
                self._write_question(writer, question, num_placeholders)
                num_placeholders = 0
            else:
                self._write_answer(writer, message, question)
        return writer.finish()

    def render_prompt(
        self, conversation: Conversation, *, num_image_tokens: int | None = None
    ) -> Rendered:
        """The conversation up to the point where the assistant speaks.

        Earlier answers are part of the prompt: nothing of them counts as generated or supervised.
        """
        if conversation.messages[-1].role is not Role.USER:
            raise ValueError("a prompt ends with a user's message; this one ends with an answer")
        history = self.render(conversation, num_image_tokens=num_image_tokens)
        rendered = Rendered()
        for token, kind in zip(history.input_ids, history.token_kind, strict=True):
            rendered.extend([token], kind if kind is TokenKind.IMAGE else TokenKind.PROMPT)
        return rendered

    def evidence_ids(
        self, passages: Sequence[Passage], *, question: str, max_tokens: int | None = None
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
            ids = self._apart(passage.text)
            if kept and max_tokens is not None and len(body) + len(ids) > max_tokens:
                break
            body.extend(ids)
            kept.append(passage)
        return self._enclosed(body[:max_tokens], question), kept

    def num_evidence_tokens(self, question: str) -> int:
        """Tokens of evidence without a passage: the tags, and the question if it is restated."""
        return len(self._enclosed([], question))

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
        text = self.tokenizer.decode(words, skip_special_tokens=True)
        end = self.template.end_words
        return (text.partition(end)[0] if end else text).strip()

    def has_ended(self, rendered: Rendered) -> bool:
        """Whether the template's end words, if it has any, were generated last."""
        words = self.template.end_words
        if not words:
            return False
        first = -len(self.plain_ids(words)) - 1  # a piece may begin before the words
        last = zip(rendered.input_ids[first:], rendered.token_kind[first:], strict=True)
        generated = [token for token, kind in last if kind is TokenKind.GENERATED]
        return words in self.tokenizer.decode(generated)

    def _num_placeholders(self, conversation: Conversation, given: int | None) -> int:
        number = self.num_image_tokens if given is None else given
        if not conversation.has_image:
            return 0
        if number is None:
            raise ValueError(
                "this backbone has as many placeholders as the size of an image asks for: "
                "give num_image_tokens"
            )
        return number

    def _write_question(self, writer: Writer, question: str, num_placeholders: int) -> None:
        writer.fixed(self.template.user)
        if num_placeholders:
            writer.fixed(self.template.before_image)
            writer.ids([self.ids.image] * num_placeholders, TokenKind.IMAGE)
            writer.fixed(self.template.after_image)
        writer.words(question, TokenKind.PROMPT)
        writer.fixed(self.template.before_answer)

    def _write_answer(self, writer: Writer, message: Message, question: str) -> None:
        written, is_target = TokenKind.GENERATED, message.supervised
        writer.text(self.template.answer_space, written, supervised=is_target)
        for part in message.parts:
            match part:
                case Text(text=text):
                    writer.words(text, written, supervised=is_target)
                case Grounded(phrase=phrase):
                    writer.phrase(phrase, supervised=is_target)
                    if self.ground_by is GroundBy.seg:
                        writer.ids([self.ids.seg], written, supervised=is_target)
                case Searched():
                    payload = self.payload_ids(part.type, part.text)
                    writer.ids(payload, written, supervised=part.supervised and is_target)
                    evidence, _ = self.evidence_ids(part.passages, question=question)
                    writer.ids(evidence, TokenKind.EVIDENCE)
        writer.ids([self.ids.end], written, supervised=is_target)
        writer.fixed(self.template.after_answer)

    def _enclosed(self, passage_ids: Sequence[int], question: str) -> list[int]:
        restated = self._apart(question) if self.template.restate_question else []
        return [self.ids.information, *passage_ids, *restated, self.ids.information_end]

    def _apart(self, text: str) -> list[int]:
        """Ids of outside text that stands apart from what is before it, be it a text or a token."""
        return self._plain.encode(f" {text.lstrip()}", Behind.text)


def _words_of(message: Message) -> str:
    """The text of a user's message."""
    for part in message.parts:
        if not isinstance(part, Text):
            raise ValueError(f"a user's message holds text only, not {type(part).__name__}")
    return " ".join(part.text for part in message.parts)
