"""A language model behind an OpenAI-compatible server: POST URL/chat/completions."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import count
from typing import Any

import numpy as np
from PIL import Image

from pixsearch.config import AnswerFormat, EndpointOptions
from pixsearch.endpoint.answers import AnswerCache, PaidAnswer
from pixsearch.endpoint.prompts import Prompt
from pixsearch.endpoint.rates import Rate
from pixsearch.endpoint.request import (
    ChatRequest,
    Correction,
    EndpointUnavailable,
    RefusedRequest,
    Reply,
)
from pixsearch.endpoint.spending import Meter
from pixsearch.line_store import digest
from pixsearch.queries import SearchFailed
from pixsearch.retrieval.connection import Connection

REFUSED = (400, 413, 415, 422)  # this request is at fault; other statuses concern all requests
FIRST_REFUSALS = 10  # so many and no answer yet: it is not the requests
CHARACTERS_PER_TOKEN = 4  # for the limit alone, until the server has counted
JPEG_QUALITY = 90
_NOTHING = "(no words)"  # in place of an empty answer, which servers do not take back


@dataclass(frozen=True, kw_only=True)
class _Completion:
    """What is read of a server's reply."""

    text: str
    finish_reason: str
    input_tokens: int | None
    output_tokens: int | None


class ChatEndpoint:
    """Asks a server. Safe for several threads.

    Args:
        prompts: of every task.
        cache: where answers are kept, so that each request is paid for once; None keeps none.
        image_side: pixels; larger images are sent scaled down.
        image_tokens: of one image, for limits until the server has counted.
        again: the option by which a run asks once more for what was refused.

    Raises:
        ValueError: the URL is none.
    """

    def __init__(
        self,
        options: EndpointOptions,
        prompts: Mapping[str, Prompt],
        *,
        cache: AnswerCache | None = None,
        image_side: int = 1024,
        image_tokens: int = 1100,
        again: str,
    ) -> None:
        self.meter = Meter()
        self.cache = cache
        self._options = options
        self._prompts = prompts
        self._image_side = image_side
        self._image_tokens = image_tokens
        self._again = again
        self._connection = Connection(options.url, options.client)
        self._requests = Rate(options.requests_per_minute)
        self._tokens = Rate(options.tokens_per_minute)
        self._has_answered = False
        self._refusals = count(1)  # `next` of it is one step, for several threads

    def complete(self, request: ChatRequest, corrections: Sequence[Correction]) -> Reply:
        """See `Chat.complete`."""
        image = request.load_image() if request.load_image else None
        payload = self._payload(request, corrections)
        key = digest(
            [
                self._connection.url,
                self._prompts[request.task].version,
                payload,
                _image_digest(image, self._image_side),
            ]
        )
        answer = None if self.cache is None else self.cache.get(key)
        if answer is None:
            answer = self._buy(key, request.task, payload, image)
        else:
            self.meter.note_cached()
            self._has_answered = True
        return Reply(text=answer.text, is_cut=answer.is_cut)

    def close(self) -> None:
        """Let go of the pooled connections."""
        self._connection.close()

    def _buy(
        self, key: str, task: str, payload: dict[str, Any], image: Image.Image | None
    ) -> PaidAnswer:
        expected = len(json.dumps(payload)) // CHARACTERS_PER_TOKEN
        expected += self._image_tokens if image else 0
        body = json.dumps(self._with_image(payload, image)).encode()
        before = partial(self._wait, expected)
        try:
            done = self._connection.post("/chat/completions", body, _read, before_try=before)
        except SearchFailed as failed:
            raise self._translated(failed) from failed
        self._has_answered = True
        answer = PaidAnswer(
            key=key,
            task=task,
            prompt=self._prompts[task].version,
            text=done.text,
            is_cut=done.finish_reason == "length",
            input_tokens=_or(done.input_tokens, expected),
            output_tokens=_or(done.output_tokens, len(done.text) // CHARACTERS_PER_TOKEN),
            is_metered=done.input_tokens is not None and done.output_tokens is not None,
        )
        self.meter.note_paid(answer)  # also for what the server's filter has ended
        self._tokens.correct(answer.input_tokens + answer.output_tokens - expected)
        if done.finish_reason == "content_filter":
            raise RefusedRequest("the server's filter ended the answer")
        if self.cache is not None and answer.text:  # an empty one is no answer to be kept
            self.cache.add(answer)
        return answer

    def _translated(self, failed: SearchFailed) -> RefusedRequest | EndpointUnavailable:
        if failed.status not in REFUSED:
            return EndpointUnavailable(f"{failed}; mend that and run the same command: it goes on")
        if not self._has_answered and next(self._refusals) >= FIRST_REFUSALS:
            return EndpointUnavailable(
                f"{failed}: the first {FIRST_REFUSALS} requests were all refused, so that a "
                f"setting is at fault; mend it ({self._options.section}.answer_format, "
                f"answer_tokens_field, model) or the server, and run again with {self._again}"
            )
        return RefusedRequest(str(failed))

    def _wait(self, tokens: int) -> None:
        self._requests.take(1)
        self._tokens.take(tokens)

    def _payload(self, request: ChatRequest, corrections: Sequence[Correction]) -> dict[str, Any]:
        """The request without its image."""
        options, fields = self._options, json.dumps(request.fields, ensure_ascii=False, indent=1)
        messages = [
            {"role": "system", "content": self._prompts[request.task].text},
            {"role": "user", "content": [{"type": "text", "text": fields}]},
        ]
        for correction in corrections:
            messages.append({"role": "assistant", "content": correction.answer or _NOTHING})
            complaint = f"This cannot be used: {correction.complaint}. Answer again, in full."
            messages.append({"role": "user", "content": complaint})
        payload = {
            "model": options.model,
            "messages": messages,
            options.answer_tokens_field: options.answer_tokens,
            **_format(options.answer_format, request),
        }
        if options.temperature is not None:
            payload["temperature"] = options.temperature
        return payload

    def _with_image(self, payload: dict[str, Any], image: Image.Image | None) -> dict[str, Any]:
        if image is None:
            return payload
        system, user, *rest = payload["messages"]
        part = {"type": "image_url", "image_url": {"url": data_url(image, self._image_side)}}
        user = {**user, "content": [part, *user["content"]]}
        return {**payload, "messages": [system, user, *rest]}


def data_url(image: Image.Image, side: int) -> str:
    """An image as the API takes it, scaled down to `side` pixels."""
    small = image.copy()
    small.thumbnail((side, side))
    packed = BytesIO()
    small.save(packed, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(packed.getvalue()).decode()}"


def _image_digest(image: Image.Image | None, side: int) -> str | None:
    """Of the pixels and how they are sent: other versions of a library write another file."""
    if image is None:
        return None
    pixels = np.asarray(image)
    sent = f"{pixels.shape} {side} {JPEG_QUALITY}"
    return hashlib.sha256(sent.encode() + pixels.tobytes()).hexdigest()


def _format(format: AnswerFormat, request: ChatRequest) -> dict[str, Any]:
    match format:
        case AnswerFormat.json_schema:
            described = {"name": str(request.task), "schema": request.schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": described}}
        case AnswerFormat.json_object:
            return {"response_format": {"type": "json_object"}}
    return {}


def _read(reply: Any) -> _Completion:
    """The first choice of a reply; one without words, or no choice at all, is an empty answer.

    Raises:
        ValueError: it is no reply of this API, so that asking again may help.
    """
    try:
        if reply["choices"] == []:
            reply = {**reply, "choices": [{"message": {}, "finish_reason": "stop"}]}
        chosen = reply["choices"][0]
        message, usage = chosen["message"], reply.get("usage") or {}
        refusal = message.get("refusal")
        text = message.get("content")
        reason = "content_filter" if refusal else str(chosen.get("finish_reason"))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"no chat completion ({error!r})") from error
    if not isinstance(text, str | None):
        raise ValueError("a chat completion whose content is no text")
    return _Completion(
        text=text or "",
        finish_reason=reason,
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
    )


def _or(value: int | None, other: int) -> int:
    return other if value is None else value


def file_name(model: str) -> str:
    """A model's name as part of a file's.

    >>> file_name("Qwen/Qwen2.5-VL-72B")
    'Qwen--Qwen2.5-VL-72B'
    """
    return re.sub(r"[^\w.-]+", "--", model)
