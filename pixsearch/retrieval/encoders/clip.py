"""Image encoder: CLIP's vision tower through transformers, as CRAG-MM's index was made."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from pixsearch.config import EncoderOptions
from pixsearch.retrieval.encoders.fingerprint import described_config, fingerprint
from pixsearch.retrieval.encoders.images import in_batches, mean_colour
from pixsearch.retrieval.encoders.loading import (
    IMAGE_ENCODER,
    load_config,
    load_part,
    load_weights,
)

MODEL_TYPES = ("clip", "clip_vision_model")


class Clip:
    """A CLIP vision tower with its projection, unit length.

    `model` is a whole CLIP or a vision tower saved with its projection. An image goes through the
    model's own processor: its shorter side to the tower's size, then the square in the middle.
    That is what CRAG-MM's index holds (openai/clip-vit-large-patch14-336, 768 dimensions): whole
    images that are not square lose their ends. Of a region's square nothing is cut.

    Attributes:
        mean_colour: the pixel that is zero for the tower, 0 to 255 per channel.
    """

    def __init__(self, options: EncoderOptions) -> None:
        config = _vision_config(options)
        # Pillow resizes as in CRAG-MM's package; torchvision's filter rounds in other places.
        self._processor = load_part(
            AutoImageProcessor.from_pretrained,
            options,
            role=IMAGE_ENCODER,
            what="image processor",
            backend="pil",
        )
        self._refuse_cut_squares(options)
        self._tower = load_weights(
            _Tower.from_pretrained, options, role=IMAGE_ENCODER, config=config
        )
        self._normalize = options.normalize
        self._batch_size = options.batch_size
        self.dimension: int = config.projection_dim
        self.mean_colour = mean_colour(self._processor)
        described = {
            "config": described_config(config),
            "processor": {"backend": "pil", **self._processor.to_dict()},
        }
        self.fingerprint = fingerprint(described, self._tower.state_dict())

    @torch.inference_mode()
    def encode_image(
        self, images: Sequence[Image.Image]
    ) -> Float[np.ndarray, "num_images dimension"]:
        """Unit vectors, computed in batches of `batch_size`."""
        return in_batches(
            self._encode, images, batch_size=self._batch_size, shape=(self.dimension,)
        )

    def _encode(self, images: Sequence[Image.Image]) -> Float[Tensor, "batch dimension"]:
        pixels = self._processor(images, return_tensors="pt")["pixel_values"]
        found = self._tower(pixels.to(self._tower.device)).image_embeds
        return F.normalize(found, dim=-1) if self._normalize else found

    def _refuse_cut_squares(self, options: EncoderOptions) -> None:
        size, kept = self._processor.size, self._processor.crop_size
        shortest = size.shortest_edge or size.height
        if self._processor.do_center_crop and (kept.height, kept.width) != (shortest, shortest):
            raise ValueError(
                f"image_encoder.model={options.model}: its processor resizes to {shortest} pixels "
                f"and keeps {kept.height}x{kept.width} of them, which cuts regions; make both the "
                "same in preprocessor_config.json"
            )


class _Tower(CLIPVisionModelWithProjection):
    """Takes its part of a whole CLIP without listing the rest as unexpected."""

    _keys_to_ignore_on_load_unexpected = (r"^text_model\.", r"^text_projection\.", r"^logit_scale$")


def _vision_config(options: EncoderOptions) -> CLIPVisionConfig:
    config = load_config(options, role=IMAGE_ENCODER, model_types=MODEL_TYPES)
    if isinstance(config, CLIPVisionConfig):
        return config
    # A whole CLIP says the projection's size outside the tower's part, whose own value may be the
    # class's default.
    config.vision_config.projection_dim = config.projection_dim
    return config.vision_config
