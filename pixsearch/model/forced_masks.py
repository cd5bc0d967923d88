"""The masks of a conversation's phrases where the model is given the words."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pixsearch.chat import Conversation
from pixsearch.model.features import ImageFeatures
from pixsearch.model.pixsearch import PixSearch


@torch.no_grad()
def forced_masks(
    model: PixSearch, conversation: Conversation, image: ImageFeatures
) -> Bool[Tensor, "num_phrases height width"]:
    """One mask per grounded phrase, in the image's own pixels; nothing is generated.

    Args:
        image: features of one image, on any device.
    """
    height, width = image.sizes[0]
    mask_logits = forced_mask_logits(model, conversation, image)
    frame = model.config.segmenter_frame
    return frame.to_image(mask_logits, height=height, width=width).cpu() > 0


@torch.no_grad()
def forced_mask_logits(
    model: PixSearch, conversation: Conversation, image: ImageFeatures
) -> Float[Tensor, "num_phrases low low"]:
    """The decoder's logits for each grounded phrase; `segmenter_frame.to_image` enlarges them.

    1. render the conversation; 2. run the language model once; 3. decode the masks of the states
    that stand for the phrases.

    Args:
        image: features of one image, on any device.
    """
    encoded = image.to(model.device)
    num_image_tokens = model.family.layout(encoded.sizes[0]).num_tokens
    rendered = model.renderer.render(conversation, num_image_tokens=num_image_tokens)
    input_ids = torch.tensor([rendered.input_ids], device=model.device)
    first_image = torch.zeros(1, dtype=torch.long, device=model.device)
    states = model.language_states(model.embed(input_ids, encoded, first_image))
    span_tags = torch.tensor([rendered.span_tags], device=model.device)
    grounded = model.grounding.find(states, input_ids, span_tags)
    num_phrases = len(grounded.rows)
    prompts = model.grounding(grounded.states, grounded.phrases, num_phrases)
    maps = encoded.segmenter.index([0] * num_phrases)
    return model.decode_conversations(grounded.rows.tolist(), prompts, maps)
