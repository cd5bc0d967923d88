"""Sample trajectories with their masks drawn in, written at each evaluation of a run.

Who makes them is a callable given to `fit`, since training and generation do not know each other.
The engine's trajectories have the attributes that `Sampled` asks for.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool
from PIL import Image

from pixsearch.chat import Conversation, Grounded, Part, Searched, Text
from pixsearch.config import QueryType
from pixsearch.datasets.example import Example
from pixsearch.model.pixsearch import PixSearch

COLOURS = (
    (230, 25, 75),
    (60, 180, 75),
    (0, 130, 200),
    (245, 130, 48),
    (145, 30, 180),
    (0, 160, 160),
    (240, 50, 230),
    (150, 110, 30),
)  # as many as an example of grounding has phrases


@runtime_checkable
class SampledMask(Protocol):
    """A grounded phrase and its mask in the image's own pixels."""

    @property
    def phrase(self) -> str: ...
    @property
    def mask(self) -> Bool[np.ndarray, "height width"]: ...


@runtime_checkable
class SampledSearch(Protocol):
    """A search of an answer."""

    @property
    def type(self) -> QueryType: ...
    @property
    def text(self) -> str | None: ...
    @property
    def failed(self) -> str | None: ...


@runtime_checkable
class Sampled(Protocol):
    """What is shown of a trajectory."""

    @property
    def request_id(self) -> str: ...
    @property
    def all_text(self) -> str: ...
    @property
    def grounded(self) -> Sequence[SampledMask]: ...
    @property
    def searches(self) -> Sequence[SampledSearch]: ...


Evaluate = Callable[[PixSearch, Sequence[Example]], Sequence[Sampled]]


def write_samples(folder: Path, examples: Sequence[Example], sampled: Sequence[Sampled]) -> None:
    """Write `samples.jsonl` and a picture per example that has an image.

    Args:
        sampled: one per example, in the same order.

    Raises:
        ValueError: there are more or fewer of them than examples.
    """
    if len(sampled) != len(examples):
        raise ValueError(
            f"the evaluation of {len(examples)} examples returned {len(sampled)} trajectories: "
            "it must return one per example, in their order"
        )
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, (example, sample) in enumerate(zip(examples, sampled, strict=True)):
        picture = None
        if example.load_image is not None:
            picture = f"{index:03d}.png"
            overlay(example.load_image(), [each.mask for each in sample.grounded]).save(
                folder / picture
            )
        lines.append(_line(example, sample, picture))
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def overlay(
    image: Image.Image, masks: Sequence[Bool[np.ndarray, "height width"]], *, opacity: float = 0.5
) -> Image.Image:
    """The image with each mask drawn in a colour of its own, later masks over earlier ones."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32).copy()
    for index, mask in enumerate(masks):
        colour = np.array(COLOURS[index % len(COLOURS)], dtype=np.float32)
        pixels[mask] = (1 - opacity) * pixels[mask] + opacity * colour
    return Image.fromarray(pixels.round().astype(np.uint8))


def _line(example: Example, sample: Sampled, picture: str | None) -> dict[str, object]:
    return {
        "id": example.id,
        "picture": picture,
        "conversation": _written(example.conversation),
        "generated": sample.all_text,
        "searches": [_asked(search) for search in sample.searches],
        "phrases": [each.phrase for each in sample.grounded],
    }


def _written(conversation: Conversation) -> list[str]:
    """The turns of a training conversation, as one reads them."""
    return [
        f"{message.role.value}: {' '.join(_words(part) for part in message.parts)}"
        for message in conversation.messages
    ]


def _words(part: Part) -> str:
    match part:
        case Text(text=text):
            return text
        case Grounded(phrase=phrase):
            return f"[{phrase}]"
        case Searched(type=query_type, text=text):
            return _query(query_type, text)


def _asked(search: SampledSearch) -> str:
    failed = f" [failed: {search.failed}]" if search.failed else ""
    return _query(search.type, search.text) + failed


def _query(query_type: QueryType, text: str | None) -> str:
    return f"[search {query_type.value}{': ' + text if text else ''}]"
