"""Bodies of `/v1/chat/completions`, read and checked before the engine sees anything of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import BaseModel, Field, model_validator

from pixsearch.chat import Message, Role, Text
from pixsearch.config import ChatServerOptions
from pixsearch.generation.records import Request
from pixsearch.web.images import PixelBudget, decode_image
from pixsearch.web.refusals import TooLarge

DATA = "data:"  # how a URL begins that holds what it names


class ImageUrl(BaseModel):
    """
    Attributes:
        url: a data URL; the server fetches nothing.
    """

    url: str


class ContentPart(BaseModel):
    """A piece of a message that has several: words or an image, as its type says."""

    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: ImageUrl | None = None

    @model_validator(mode="after")
    def _has_what_it_says(self) -> "ContentPart":
        """A part without its content, or with another's, would be left out in silence."""
        filled = [name for name in ("text", "image_url") if getattr(self, name) is not None]
        if filled != [self.type]:
            raise ValueError(f"a part of type {self.type!r} has {filled or 'nothing'}")
        return self


class ChatMessage(BaseModel):
    """One message; `content` in one piece or in several."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[ContentPart]


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body, as OpenAI has it.

    Fields that would change the answer are read so that they can be refused; others that clients
    send (`user`, `metadata`, `seed`, `prediction`, …) change nothing and are not looked at.
    """

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: int = 1
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    stop: str | list[str] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None
    response_format: dict[str, Any] | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    web_search_options: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What a body asks."""

    request: Request
    stream: bool
    include_usage: bool


def read_chat(body: bytes, options: ChatServerOptions, *, request_id: str) -> Asked:
    """What a body asks.

    Raises:
        ValueError: it is no such request, or asks for what this server does not do.
        TooLarge: too many messages, characters or pixels.
    """
    chat = ChatRequest.model_validate_json(body)
    _refuse_other_decoding(chat, options)
    _check_lengths(chat.messages, options)
    system, turns = _split_system(chat.messages)
    words = [_words(message) for message in turns]
    asked = words[-1]
    if not asked.strip():
        raise ValueError("messages: the question is empty; the last message is to have words")
    words[0] = "\n".join([*(_words(message) for message in system), words[0]])
    return Asked(
        request=Request(
            id=request_id,
            question=words[-1],
            search_question=asked,  # without the instructions
            image=_only_image(chat.messages, options),
            history=tuple(_history(turns[:-1], words)),
            max_new_tokens=chat.max_completion_tokens or chat.max_tokens,
        ),
        stream=chat.stream,
        include_usage=chat.stream_options is not None and chat.stream_options.include_usage,
    )


def _refuse_other_decoding(chat: ChatRequest, options: ChatServerOptions) -> None:
    """See that nothing is asked for that would be left out in silence."""
    if chat.model not in (None, options.model_name):
        raise ValueError(f"model={chat.model!r}: this server has {options.model_name!r} alone")
    plain = {
        "n": chat.n == 1,
        "temperature": not chat.temperature,
        "top_p": chat.top_p in (None, 1.0),
        "presence_penalty": not chat.presence_penalty,
        "frequency_penalty": not chat.frequency_penalty,
        "logit_bias": not chat.logit_bias,
        "logprobs": not chat.logprobs,
        "top_logprobs": not chat.top_logprobs,
        "stop": not chat.stop,
        "tools": not chat.tools,
        "tool_choice": chat.tool_choice in (None, "none", "auto"),
        "functions": not chat.functions,
        "function_call": chat.function_call in (None, "none", "auto"),
        "response_format": chat.response_format in (None, {"type": "text"}),
        "modalities": chat.modalities in (None, ["text"]),
        "audio": chat.audio is None,
        "reasoning_effort": chat.reasoning_effort in (None, "none"),
        "verbosity": chat.verbosity in (None, "medium"),
        "web_search_options": chat.web_search_options is None,
    }
    for name, is_plain in plain.items():
        if not is_plain:
            value = getattr(chat, name)
            raise ValueError(
                f"{name}={value!r}: this server gives the one likeliest answer, in words; leave "
                f"{name} out"
            )


def _check_lengths(messages: Sequence[ChatMessage], options: ChatServerOptions) -> None:
    if len(messages) > options.max_messages:
        raise TooLarge(f"{len(messages)} messages are more than {options.max_messages}: send fewer")
    for place, message in enumerate(messages):
        length = len(_words(message))
        if length > options.max_characters:
            raise TooLarge(
                f"message {place}: {length} characters are more than {options.max_characters}"
            )


def _split_system(
    messages: Sequence[ChatMessage],
) -> tuple[list[ChatMessage], list[ChatMessage]]:
    """Instructions at the beginning, and the turns behind them, which user and assistant take."""
    turns = list(messages)
    system = []
    while turns and turns[0].role in ("system", "developer"):
        system.append(turns.pop(0))
    expected = ["user" if place % 2 == 0 else "assistant" for place in range(len(turns))]
    if [message.role for message in turns] != expected or len(turns) % 2 == 0:
        raise ValueError(
            "messages: behind instructions user and assistant take turns, the user first and last"
        )
    return system, turns


def _history(turns: Sequence[ChatMessage], words: Sequence[str]) -> Iterator[Message]:
    for message, text in zip(turns, words, strict=False):
        yield Message(role=Role(message.role), parts=(Text(text=text),))


def _words(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return " ".join(part.text or "" for part in message.content if part.type == "text")


def _only_image(messages: Sequence[ChatMessage], options: ChatServerOptions) -> Image.Image | None:
    """The image of the conversation, wherever in it.

    Raises:
        ValueError: there are several, or one is no data URL or cannot be decoded.
    """
    urls = [
        part.image_url.url
        for message in messages
        if not isinstance(message.content, str)
        for part in message.content
        if part.image_url is not None
    ]
    if len(urls) > 1:
        raise ValueError(f"{len(urls)} images: the model looks at one image in a conversation")
    if not urls:
        return None
    if not urls[0].startswith(DATA):
        raise ValueError("image_url: send a data URL (data:image/png;base64,…); none is fetched")
    size = options.max_image_megapixels
    return decode_image(urls[0], PixelBudget(per_image=size, left=size))
