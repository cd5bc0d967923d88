"""The trajectory grammar (shared/design.md), checked on conversations that come from files."""

from collections.abc import Sequence

from pixsearch.chat import Conversation, Grounded, Message, Part, Role, Searched, Text
from pixsearch.config import QueryType


def grounded_phrases(conversation: Conversation) -> list[str]:
    """The phrases of a conversation that have a mask, in the masks' order."""
    return [
        part.phrase
        for message in conversation.messages
        for part in message.parts
        if isinstance(part, Grounded)
    ]


def check_conversation(conversation: Conversation, *, num_masks: int, where: str) -> None:
    """Check that a conversation can be trained on.

    Args:
        num_masks: how many masks come with it.
        where: file and line, or an id, for the error.

    Raises:
        ValueError: a turn, a search or the number of masks breaks the grammar; names the place.
    """
    for reason in (
        _wrong_turns(conversation.messages),
        *(_wrong_message(message, conversation.has_image) for message in conversation.messages),
        _wrong_masks(conversation, num_masks),
    ):
        if reason:
            raise ValueError(f"{where}: {reason}")


def _wrong_turns(messages: Sequence[Message]) -> str | None:
    roles = [message.role for message in messages]
    if not roles or len(roles) % 2 or roles != [Role.USER, Role.ASSISTANT] * (len(roles) // 2):
        found = ", ".join(roles) or "none"
        return f"user and assistant must take turns, the assistant last; the roles are: {found}"
    return None


def _wrong_masks(conversation: Conversation, num_masks: int) -> str | None:
    num_phrases = len(grounded_phrases(conversation))
    if num_phrases != num_masks:
        return f"{num_phrases} grounded phrases, but {num_masks} masks"
    if num_phrases and not conversation.has_image:
        return f"{num_phrases} grounded phrases, but no image"
    return None


def _wrong_message(message: Message, has_image: bool) -> str | None:
    if message.role is Role.USER:
        return _wrong_question(message.parts)
    if not message.parts:
        return "an answer is empty"
    if any(isinstance(part, Grounded) and not part.phrase.strip() for part in message.parts):
        return "a grounded phrase without words"
    if isinstance(message.parts[-1], Searched):
        return "an answer ends with a search; words must follow the evidence"
    if any(isinstance(part, Searched) for part in message.parts) and not _has_words(message):
        return "no words follow the evidence"
    for index, part in enumerate(message.parts):
        if isinstance(part, Searched):
            reason = _wrong_search(part, message.parts[:index], has_image)
            if reason:
                return reason
    return None


def _has_words(message: Message) -> bool:
    """Whether anything is said at the end."""
    last = message.parts[-1]
    return bool((last.text if isinstance(last, Text) else last.phrase).strip())


def _wrong_question(parts: Sequence[Part]) -> str | None:
    if all(isinstance(part, Text) for part in parts):
        return None
    return "a user's message holds text only, neither phrases with masks nor searches"


def _wrong_search(search: Searched, before: Sequence[Part], has_image: bool) -> str | None:
    if search.type is QueryType.text:
        return None if (search.text or "").strip() else "a text search without words"
    if search.text is not None:
        return f"a search of type {search.type} with the words {search.text!r}"
    if not has_image:
        return f"a search of type {search.type} without an image"
    if search.type is QueryType.region and not any(isinstance(part, Grounded) for part in before):
        return "a region search before any grounded phrase of its answer"
    return None
