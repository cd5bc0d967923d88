"""One record of any dataset, for training or evaluation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from PIL import Image

from pixsearch.chat import Conversation

Masks = Bool[np.ndarray, "num_masks height width"]


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image, a conversation about it, and the masks of its grounded phrases in their order.

    Attributes:
        id: unique within its dataset.
        image_id: two examples with the same one show the same pixels; None without an image.
        load_image: decodes the image (RGB) when called; None without an image.
        load_masks: decodes one boolean mask per `Grounded` part, in the image's own pixels.
        load_ignore: gives a map like a mask, of pixels whose label is not known; loss and score
            leave them out.
    """

    id: str
    conversation: Conversation
    image_id: str | None = None
    load_image: Callable[[], Image.Image] | None = None
    load_masks: Callable[[], Masks] | None = None
    load_ignore: Callable[[], Bool[np.ndarray, "height width"]] | None = None
