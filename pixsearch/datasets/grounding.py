"""From an annotated image to an example: what RefCOCO and one's own folder have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from pixsearch.chat import Conversation, Message, Role, Text
from pixsearch.datasets.example import Example
from pixsearch.datasets.files import image_key, load_image
from pixsearch.datasets.masks import Segmentation, decode_masks
from pixsearch.datasets.templates import ask, pick, reply

PHRASES_PER_EXAMPLE = 8  # an image with more becomes several examples, so that lengths stay bounded
PHRASES_PER_TURN = (1, 3, 4, 5, 6)


@dataclass(frozen=True, kw_only=True)
class GroundedImage:
    """An image with phrases and, for each phrase, the segmentations whose union is its mask.

    Attributes:
        height, width: of the image in pixels, as annotated.
        ignored: segmentations of unknown label.
    """

    id: str
    image: Path
    height: int
    width: int
    phrases: tuple[str, ...]
    segmentations: tuple[tuple[Segmentation, ...], ...]
    ignored: tuple[Segmentation, ...] = ()

    def chunks(self) -> list["GroundedImage"]:
        """Pieces of at most `PHRASES_PER_EXAMPLE` phrases, with ids `id/0`, `id/1`, …"""
        step = PHRASES_PER_EXAMPLE
        return [
            GroundedImage(
                id=f"{self.id}/{start // step}",
                image=self.image,
                height=self.height,
                width=self.width,
                phrases=self.phrases[start : start + step],
                segmentations=self.segmentations[start : start + step],
                ignored=self.ignored,
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
    size = (record.height, record.width)
    return Example(
        id=record.id,
        conversation=grounding_conversation(record.phrases, key=record.id),
        image_id=image_key(record.image),
        load_image=partial(load_image, record.image, example=record.id, size=size),
        load_masks=partial(
            decode_masks,
            record.segmentations,
            height=record.height,
            width=record.width,
            example=record.id,
        ),
        load_ignore=partial(_ignored, record) if record.ignored else None,
    )


def _ignored(record: GroundedImage) -> Bool[np.ndarray, "height width"]:
    """Where the label is unknown."""
    return decode_masks(
        [record.ignored], height=record.height, width=record.width, example=record.id
    )[0]
