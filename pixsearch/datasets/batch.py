"""Examples → one padded batch. Images stay undecoded; masks are decoded here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor

from pixsearch.chat import ChatRenderer
from pixsearch.datasets.example import Example, Masks
from pixsearch.datasets.grammar import grounded_phrases
from pixsearch.images import SegmenterFrame
from pixsearch.rendering import Rendered, TokenKind

IGNORED = -100  # label of a token that is no target (PyTorch's cross-entropy leaves it out)
NO_IMAGE = -1
_NOT_TEXT = {TokenKind.IMAGE, TokenKind.EVIDENCE}


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rendered conversations of one micro-step, padded on the right.

    Attributes:
        attention_mask: 1 for tokens, 0 for padding.
        labels: the id itself where the token is a target, else -100; not shifted.
        token_kind: values of `TokenKind`.
        span_tags: values of `SpanTag`, -100 at padding.
        image_rows: each row's place in `image_ids`, -1 without an image.
        image_ids: every image of the batch once.
        load_images: decodes the image of the same place, RGB.
        target_masks: per row, in the order of its grounded phrases, the share that the mask covers
            of what is known of each low-resolution pixel.
        mask_weights: for each of them the share of each pixel whose label is known: neither
            ignored by the annotation nor padding.
    """

    ids: tuple[str, ...]
    input_ids: Int64[Tensor, "batch length"]
    attention_mask: Int64[Tensor, "batch length"]
    labels: Int64[Tensor, "batch length"]
    token_kind: Int64[Tensor, "batch length"]
    span_tags: Int64[Tensor, "batch length"]
    image_rows: Int64[Tensor, " batch"]
    image_ids: tuple[str, ...]
    load_images: tuple[Callable[[], Image.Image], ...]
    target_masks: tuple[Float[Tensor, "_num_masks resolution resolution"], ...]
    mask_weights: tuple[Float[Tensor, "_num_masks resolution resolution"], ...]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on `device`."""
        moved: dict[str, Any] = {
            field.name: getattr(self, field.name).to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(getattr(self, field.name), Tensor)
        }
        for name in ("target_masks", "mask_weights"):
            planes = getattr(self, name)
            moved[name] = tuple(plane.to(device, non_blocking=True) for plane in planes)
        return replace(self, **moved)


def collate(
    examples: Sequence[Example],
    renderer: ChatRenderer,
    *,
    max_length: int,
    frame: SegmenterFrame | None,
    num_image_tokens: Callable[[Example], int] | None = None,
    cut: bool = False,
) -> Batch:
    """Render, pad and label the examples of one batch.

    Args:
        max_length: tokens of the longest conversation allowed.
        frame: the segmenter's, for the target masks; None makes none.
        num_image_tokens: placeholders of an example's image, where that is not the same number for
            every image.
        cut: leave out what is behind `max_length`, where that is mere text.

    Raises:
        ValueError: a conversation is too long, or has more or fewer masks than phrases, or an image
            is named but not there; names the example.
    """
    rendered = [
        render_example(example, renderer, num_image_tokens=num_image_tokens) for example in examples
    ]
    rendered = [
        _bounded(row, max_length, example.id, cut=cut)
        for row, example in zip(rendered, examples, strict=True)
    ]
    loaders = {
        example.image_id: example.load_image
        for example in examples
        if example.image_id is not None and example.load_image is not None
    }
    places = {image_id: place for place, image_id in enumerate(loaders)}
    rows = [places.get(example.image_id, NO_IMAGE) for example in examples]
    planes = [] if frame is None else [_mask_planes(example, frame) for example in examples]
    return Batch(
        ids=tuple(example.id for example in examples),
        **_pad(rendered, pad_id=renderer.ids.pad),
        image_rows=torch.tensor(rows),
        image_ids=tuple(loaders),
        load_images=tuple(loaders.values()),
        target_masks=tuple(targets for targets, _ in planes),
        mask_weights=tuple(weights for _, weights in planes),
    )


def render_example(
    example: Example,
    renderer: ChatRenderer,
    *,
    num_image_tokens: Callable[[Example], int] | None = None,
) -> Rendered:
    """An example's conversation as it is trained on, however long.

    Raises:
        ValueError: an image is named but not there; names the example.
    """
    has_image = example.conversation.has_image
    if not has_image == (example.load_image is not None) == (example.image_id is not None):
        raise ValueError(
            f"example {example.id!r}: an image needs has_image, image_id and load_image; "
            f"they are {has_image}, {example.image_id!r} and {example.load_image}"
        )
    given = num_image_tokens(example) if num_image_tokens and has_image else None
    return renderer.render(example.conversation, num_image_tokens=given)


def load_masks_of(example: Example) -> Masks | None:
    """The masks of an example, one for each of its grounded phrases; None if it has neither.

    Raises:
        ValueError: a mask cannot be decoded, or there are more or fewer of them than phrases.
    """
    num_phrases = len(grounded_phrases(example.conversation))
    masks = None if example.load_masks is None else example.load_masks()
    num_masks = 0 if masks is None else len(masks)
    if num_masks != num_phrases:
        raise ValueError(
            f"example {example.id!r} has {num_phrases} grounded phrases, but {num_masks} masks"
        )
    return masks


def _bounded(rendered: Rendered, max_length: int, id: str, *, cut: bool) -> Rendered:
    if len(rendered) <= max_length:
        return rendered
    is_text = not rendered.spans and not _NOT_TEXT.intersection(rendered.token_kind[max_length:])
    if cut and is_text:
        return Rendered(
            input_ids=rendered.input_ids[:max_length],
            token_kind=rendered.token_kind[:max_length],
            supervised=rendered.supervised[:max_length],
        )
    remedy = "" if cut else ", set stage.on_too_long=cut"
    raise ValueError(
        f"example {id!r} has {len(rendered)} tokens, more than stage.max_length={max_length}; "
        f"raise it{remedy}, or shorten or drop the example"
    )


def _pad(rendered: Sequence[Rendered], *, pad_id: int) -> dict[str, Int64[Tensor, "batch length"]]:
    shape = (len(rendered), max(len(row) for row in rendered))
    padded = {
        "input_ids": torch.full(shape, pad_id),
        "attention_mask": torch.zeros(shape, dtype=torch.long),
        "labels": torch.full(shape, IGNORED),
        "token_kind": torch.full(shape, int(TokenKind.PAD)),
        "span_tags": torch.full(shape, IGNORED),
    }
    for index, row in enumerate(rendered):
        ids = torch.tensor(row.input_ids)
        supervised = torch.tensor(row.supervised)
        padded["input_ids"][index, : len(row)] = ids
        padded["attention_mask"][index, : len(row)] = 1
        padded["labels"][index, : len(row)] = torch.where(supervised, ids, IGNORED)
        padded["token_kind"][index, : len(row)] = torch.tensor(row.token_kind)
        padded["span_tags"][index, : len(row)] = torch.tensor(row.span_tags)
    return padded


def _mask_planes(
    example: Example, frame: SegmenterFrame
) -> tuple[
    Float[Tensor, "num_masks resolution resolution"],
    Float[Tensor, "num_masks resolution resolution"],
]:
    """The target of each grounded phrase, a share of what is known of a pixel, and that share."""
    masks = load_masks_of(example)
    if masks is None:
        none = torch.zeros(0, frame.resolution, frame.resolution)
        return none, none
    known = np.ones((1, *masks.shape[1:]), dtype=bool)
    if example.load_ignore is not None:
        known[0] = ~example.load_ignore()
    weights = frame.targets(known)
    targets = frame.targets(masks & known) / weights.clamp(min=torch.finfo(weights.dtype).eps)
    return targets, weights.expand(len(masks), -1, -1)
