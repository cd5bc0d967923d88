"""Asks until an answer can be used, a limited number of times."""

import json
from typing import Any

from pixsearch.endpoint.request import (
    Chat,
    ChatRequest,
    Correction,
    MalformedAnswer,
    Reply,
)
from pixsearch.endpoint.schema import check


def ask(chat: Chat, request: ChatRequest, *, corrections: int) -> Any:
    """What `request.read` makes of the answer.

    Args:
        corrections: times that an answer which is no use is asked for again, with the reason.

    Raises:
        MalformedAnswer: none of the answers was of use; names the last reason.
        RefusedRequest, EndpointUnavailable, ValueError: as `Chat.complete`.
    """
    made: list[Correction] = []
    while True:
        reply = chat.complete(request, made)
        try:
            return _read(reply, request)
        except ValueError as error:
            if len(made) == corrections:
                raise MalformedAnswer(f"{request.task}: {error}") from error
            made.append(Correction(answer=reply.text, complaint=str(error)))


def _read(reply: Reply, request: ChatRequest) -> Any:
    if reply.is_cut:
        raise ValueError("the answer was cut at its longest length; it must be shorter")
    value = parse_json(reply.text)
    check(value, request.schema)
    return request.read(value)


def parse_json(text: str) -> Any:
    """The JSON of an answer, also where it stands in a fence of Markdown.

    Raises:
        ValueError: it is none.
    """
    inner = text.strip()
    if inner.startswith("```"):
        inner = inner.partition("\n")[2].rpartition("```")[0]
    try:
        return json.loads(inner)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the answer is not JSON ({error})") from error
