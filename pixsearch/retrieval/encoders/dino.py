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
from pixsearch.retrieval.encoders.loading import (
    IMAGE_ENCODER,
    load_config,
    load_part,
    load_weights,
)

MODEL_TYPES = ("dinov2", "dinov2_with_registers", "dinov3_vit", "dinov3_convnext")
CONVNEXT_PATCH = 32  # pixels that one place of a ConvNeXt's last map stands for
BYTE = 255  # largest value of a pixel


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
        red, green, blue = (round(mean * BYTE) for mean in self._processor.image_mean)
        self.mean_colour: tuple[int, int, int] = (red, green, blue)
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
        vectors = np.empty((len(images), self.dimension), dtype=np.float32)
        for start in range(0, len(images), self._batch_size):
            batch = images[start : start + self._batch_size]
            pooled = self._pool(self._tokens(batch))
            pooled = F.normalize(pooled, dim=-1) if self._normalize else pooled
            vectors[start : start + len(batch)] = pooled.cpu().numpy()
        return vectors

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
        patches = np.empty((len(images), side, side, self.dimension), dtype=np.float32)
        for start in range(0, len(images), self._batch_size):
            batch = images[start : start + self._batch_size]
            found = self._tokens(batch).last_hidden_state[:, self._num_special :]
            patches[start : start + len(batch)] = found.unflatten(1, (side, side)).cpu().numpy()
        return patches

    def _tokens(self, images: Sequence[Image.Image]) -> Any:
        """The model's output for one batch."""
        pixels = self._processor(
            [image.convert("RGB") for image in images],
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
