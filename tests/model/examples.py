"""A batch that has all there is: two rows of one image, one of another, one without."""

import copy
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from pixsearch.chat import Conversation, Grounded, Message, Role, Searched, Text
from pixsearch.config import QueryType
from pixsearch.model import PixSearch
from pixsearch.queries import Passage

PASSAGE = Passage(id="1", title="Velmora", text="The Velmora cup is made in Tarnwick.")


def picture(seed: int, *, width: int = 40, height: int = 30) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def conversation(*parts: Text | Grounded | Searched, has_image: bool = True) -> Conversation:
    question = Message(role=Role.USER, parts=(Text(text="What is the red cup?"),))
    answer = Message(role=Role.ASSISTANT, parts=parts)
    return Conversation(messages=(question, answer), has_image=has_image)


CONVERSATIONS = (
    conversation(Grounded(phrase="the red cup"), Text(text="and"), Grounded(phrase="the box")),
    conversation(
        Searched(type=QueryType.text, text="red cup", passages=(PASSAGE,)),
        Text(text="It is the Velmora cup."),
        has_image=False,
    ),
    conversation(Text(text="There are three.")),
    conversation(Grounded(phrase="the lamp"), Searched(type=QueryType.region, passages=(PASSAGE,))),
)
IMAGE_INDEX = (1, -1, 0, 0)


def batch(model: PixSearch, rows: tuple[int, ...] = (0, 1, 2, 3)) -> dict[str, Any]:
    """The arguments of `PixSearch.forward` for some of `CONVERSATIONS`, padded on the right."""
    images = [picture(0), picture(1, width=20)]
    rendered = [
        model.renderer.render(
            CONVERSATIONS[row], num_image_tokens=model.num_image_tokens(images[IMAGE_INDEX[row]])
        )
        for row in rows
    ]
    length = max(len(row) for row in rendered)
    shape = (len(rows), length)
    input_ids, labels = torch.full(shape, model.config.ids.pad), torch.full(shape, -100)
    span_tags = torch.full(shape, -100)
    for place, row in enumerate(rendered):
        ids = torch.tensor(row.input_ids)
        input_ids[place, : len(row)] = ids
        labels[place, : len(row)] = torch.where(torch.tensor(row.supervised), ids, -100)
        span_tags[place, : len(row)] = torch.tensor(row.span_tags)
    num_masks = sum(len(row.spans) for row in rendered)
    side = model.config.segmenter_frame.resolution
    return {
        "input_ids": input_ids,
        "labels": labels,
        "image_features": model.encode_image(images),
        "image_index": torch.tensor([IMAGE_INDEX[row] for row in rows]),
        "span_tags": span_tags,
        "target_masks": (torch.arange(side * side).view(side, side) % 3 == 0)
        .float()
        .expand(num_masks, side, side),
    }


def with_new_rows(model: PixSearch) -> nn.Module:
    """Transformers' own model, resized, with our rows copied into it."""
    backbone = copy.deepcopy(model.backbone)
    first = model.new_rows.ids[0]
    backbone.resize_token_embeddings(first + 7, mean_resizing=False)
    with torch.no_grad():
        backbone.get_input_embeddings().weight[first:] = model.new_rows.embedding
        backbone.lm_head.weight[first:] = model.new_rows.head_rows
    return backbone.eval()
