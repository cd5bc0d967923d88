"""What PixSearch needs of transformers' `SamModel` and `SamModel` does not offer as one call."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import SamModel


def init_positional_matrix(segmenter: SamModel) -> None:
    """Draw the matrix of the Fourier positional encoding as SAM itself does, N(0, 1).

    For segmenters built from a config. transformers draws it with a deviation of half the encoder's
    width; neighbouring places then have unrelated encodings, and nothing can be located.
    """
    matrix = segmenter.shared_image_embedding.positional_embedding
    nn.init.normal_(matrix)
    segmenter.prompt_encoder.shared_embedding.positional_embedding = matrix


def decode_masks(
    segmenter: SamModel,
    prompts: Float[Tensor, "num_masks channels"],
    segmenter_embedding: Float[Tensor, "num_masks channels grid_height grid_width"],
) -> Float[Tensor, "num_masks low low"]:
    """Decode one mask per prompt, all in one call, each on its own image.

    A prompt stands where SAM has its points and boxes; the dense prompt is SAM's for "no mask".
    """
    _, dense = segmenter.prompt_encoder(
        input_points=None, input_labels=None, input_boxes=None, input_masks=None
    )
    with torch.autocast(dense.device.type, enabled=False):  # phases would be rounded by 0.05 rad
        places = segmenter.get_image_wide_positional_embeddings()
    mask_logits, _ = segmenter.mask_decoder(
        image_embeddings=segmenter_embedding.to(dense.dtype),
        image_positional_embeddings=places.expand(len(prompts), -1, -1, -1),
        sparse_prompt_embeddings=prompts[:, None, None, :],
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    return mask_logits[:, 0, 0]


def empty_embedding(segmenter: SamModel) -> Float[Tensor, "1 channels grid_height grid_width"]:
    """Zeros in the shape of one image's embedding."""
    _, dense = segmenter.prompt_encoder(
        input_points=None, input_labels=None, input_boxes=None, input_masks=None
    )
    return torch.zeros_like(dense)
