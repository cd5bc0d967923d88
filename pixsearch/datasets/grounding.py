"""From an annotated image to an example: what all data sets with masks have in common."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pixsearch.chat import Conversation, Message, Role, Text
from pixsearch.datasets.annotations import Annotation
from pixsearch.datasets.example import Example
from pixsearch.datasets.files import image_key, load_image
from pixsearch.datasets.templates import ask, pick, reply

PHRASES_PER_EXAMPLE = 8  # an image with more becomes several examples, so that lengths stay bounded
PHRASES_PER_TURN = (1, 3, 4, 5, 6)


@dataclass(frozen=True, kw_only=True)
class GroundedImage:
    """An image with phrases, and the annotation that has a mask for each of them."""

    id: str
    image: Path
    phrases: tuple[str, ...]
    annotation: Annotation

    def chunks(self) -> list["GroundedImage"]:
        """Pieces of at most `PHRASES_PER_EXAMPLE` phrases, with ids `id/0`, `id/1`, …"""
        step = PHRASES_PER_EXAMPLE
        return [
            replace(
                self,
                id=f"{self.id}/{start // step}",
                phrases=self.phrases[start : start + step],
                annotation=self.annotation.part(slice(start, start + step)),
            )
            for start in range(0, len(self.phrases), step)
        ]


def grounding_conversation(phrases: Sequence[str], *, key: str) -> Conversation:
    """Turns of `PHRASES_PER_TURN` phrases each, in order: a question, a grounded answer."""
    messages: list[Message] = []
    start = 0
    while start < len(phrases):
        turn = f"{key}/{start}"
        size = pick(PHRASES_PER_TURN, f"size/{turn}")
        asked = phrases[start : start + size]
        question = Text(text=ask(asked, key=turn))
        messages.append(Message(role=Role.USER, parts=(question,)))
        messages.append(Message(role=Role.ASSISTANT, parts=reply(asked, key=turn)))
        start += size
    return Conversation(messages=tuple(messages), has_image=True)


def grounding_example(record: GroundedImage) -> Example:
    """The example of an annotated image; image and masks are decoded when called for."""
    return masked_example(record, grounding_conversation(record.phrases, key=record.id))


def masked_example(record: GroundedImage, conversation: Conversation) -> Example:
    """The example of an annotated image with a conversation of one's own.

    Args:
        conversation: its grounded phrases are those of the record, in their order.
    """
    load_masks, load_ignore = record.annotation.loaders(example=record.id)
    size = record.annotation.size
    return Example(
        id=record.id,
        conversation=conversation,
        image_id=image_key(record.image),
        load_image=partial(load_image, record.image, example=record.id, size=size),
        load_masks=load_masks,
        load_ignore=load_ignore,
    )
