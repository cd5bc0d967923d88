"""Image encoder: DINOv2 and DINOv3 through transformers, whole images and their patches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoImageProcessor, AutoModel, PreTrainedConfig

from pixsearch.config import EncoderOptions, Pooling
from pixsearch.retrieval.encoders.fingerprint import described_config, fingerprint
from pixsearch.retrieval.encoders.images import in_batches, mean_colour
from pixsearch.retrieval.encoders.loading import (
    IMAGE_ENCODER,
    load_config,
    load_part,
    load_weights,
)

MODEL_TYPES = ("dinov2", "dinov2_with_registers", "dinov3_vit", "dinov3_convnext")
CONVNEXT_PATCH = 32  # pixels that one place of a ConvNeXt's last map stands for


class Dino:
    """A DINOv2 or DINOv3 (ViT with or without registers, ConvNeXt), unit length.

    Every image is squashed into the square that the model's processor names, as DINOv3's own
    processor does. DINOv2's would cut a border off instead (of 256 pixels it keeps 224), and with
    it whatever of a region lies there.

    The pooling is `cls` unless another is chosen: the class token after the last norm, which both
    papers compare when they retrieve. `mean`: of the patches after that norm, without class and
    register tokens; regions can be pooled of the patches then (`encode_dense`). `pooler`: what
    transformers returns as such, the class token of a ViT. A ConvNeXt has no class token;
    transformers puts the normalised mean of its last map in that place.

    Attributes:
        mean_colour: the pixel that is zero for the model, 0 to 255 per channel.
    """

    def __init__(self, options: EncoderOptions) -> None:
        config = load_config(options, role=IMAGE_ENCODER, model_types=MODEL_TYPES)
        self._processor = load_part(
            AutoImageProcessor.from_pretrained, options, role=IMAGE_ENCODER, what="image processor"
        )
        self._side = _side(self._processor)
        self._patch = _patch_size(config)
        self._refuse_broken_patches(options)
        self._model = load_weights(AutoModel.from_pretrained, options, role=IMAGE_ENCODER)
        self._pooling = Pooling.cls if options.pooling == Pooling.none else options.pooling
        self._normalize = options.normalize
        self._batch_size = options.batch_size
        self._num_special = 1 + getattr(config, "num_register_tokens", 0)
        sizes = getattr(config, "hidden_sizes", None)
        self.dimension: int = sizes[-1] if sizes else config.hidden_size
        self.mean_colour = mean_colour(self._processor)
        described = {
            "config": described_config(config),
            "processor": {"fit": "squash", **self._processor.to_dict()},
        }
        self.fingerprint = fingerprint(described, self._model.state_dict())

    @torch.inference_mode()
    def encode_image(
        self, images: Sequence[Image.Image]
    ) -> Float[np.ndarray, "num_images dimension"]:
        """Unit vectors, computed in batches of `batch_size`."""
        return in_batches(
            self._encode, images, batch_size=self._batch_size, shape=(self.dimension,)
        )

    @torch.inference_mode()
    def encode_dense(
        self, images: Sequence[Image.Image]
    ) -> Float[np.ndarray, "num_images rows columns dimension"]:
        """The patches of each image; their mean is its vector, but for its length.

        Raises:
            ValueError: the pooling is not `mean`, so that documents are in another space.
        """
        if self._pooling != Pooling.mean:
            raise ValueError(
                f"image_encoder.pooling={self._pooling}: a region pooled of patches is near to "
                "documents that are so too: set image_encoder.pooling=mean and build the index, "
                "or set another policy.region_crop"
            )
        side = self._side // self._patch
        return in_batches(
            lambda batch: self._patches(batch).unflatten(1, (side, side)),
            images,
            batch_size=self._batch_size,
            shape=(side, side, self.dimension),
        )

    def _encode(self, images: Sequence[Image.Image]) -> Float[Tensor, "batch dimension"]:
        pooled = self._pool(self._tokens(images))
        return F.normalize(pooled, dim=-1) if self._normalize else pooled

    def _patches(self, images: Sequence[Image.Image]) -> Float[Tensor, "batch patches dimension"]:
        return self._tokens(images).last_hidden_state[:, self._num_special :]

    def _tokens(self, images: Sequence[Image.Image]) -> Any:
        """The model's output for one batch."""
        pixels = self._processor(
            images,
            size={"height": self._side, "width": self._side},  # of which a crop takes nothing
            return_tensors="pt",
        )["pixel_values"]
        return self._model(pixels.to(self._model.device))

    def _pool(self, output: Any) -> Float[Tensor, "num_images dimension"]:
        if self._pooling == Pooling.pooler:
            return output.pooler_output
        tokens = output.last_hidden_state
        is_mean = self._pooling == Pooling.mean
        return tokens[:, self._num_special :].mean(dim=1) if is_mean else tokens[:, 0]

    def _refuse_broken_patches(self, options: EncoderOptions) -> None:
        if not self._side or self._side % self._patch:
            raise ValueError(
                f"image_encoder.model={options.model}: its processor makes squares of {self._side} "
                f"pixels, in which patches of {self._patch} do not fit a whole number of times: "
                "change the size in preprocessor_config.json"
            )


def _side(processor: Any) -> int:
    """Pixels of the square that the processor ends with; 0 if it makes none."""
    size = processor.crop_size if processor.do_center_crop else processor.size
    return size.height or size.shortest_edge or 0


def _patch_size(config: PreTrainedConfig) -> int:
    return getattr(config, "patch_size", CONVNEXT_PATCH)
