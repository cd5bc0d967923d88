"""Image encoder: any open_clip model, from a folder or from the hub."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import open_clip
import torch
from jaxtyping import Float
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from pixsearch.config import EncoderOptions
from pixsearch.precision import best_device
from pixsearch.retrieval.encoders.fingerprint import fingerprint
from pixsearch.retrieval.encoders.images import in_batches
from pixsearch.retrieval.encoders.loading import IMAGE_ENCODER, unreadable


class OpenClip:
    """The vision tower of an open_clip model with its projection, unit length.

    `model` is a folder {open_clip_config.json, model.safetensors} as `convert_clip` writes it, or
    "hf-hub:owner/name". Size, resizing, mean and deviation are those of its `preprocess_cfg`.
    """

    def __init__(self, options: EncoderOptions) -> None:
        if options.revision is not None:
            raise ValueError(
                f"image_encoder.revision={options.revision}: open_clip takes the hub's newest; "
                "download the revision and give its folder as image_encoder.model"
            )
        name = _open_clip_name(options.model)
        self._device = best_device()
        try:
            self._model, self._preprocess = open_clip.create_model_from_pretrained(
                name, device=self._device
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise unreadable(options, role=IMAGE_ENCODER, what="model", reason=error) from error
        self._model.eval().requires_grad_(False)
        self._normalize = options.normalize
        self._batch_size = options.batch_size
        self.dimension: int = self._model.visual.output_dim
        self.fingerprint = _fingerprint(self._model, open_clip.get_model_config(name))

    @torch.inference_mode()
    def encode_image(
        self, images: Sequence[Image.Image]
    ) -> Float[np.ndarray, "num_images dimension"]:
        """Unit vectors, computed in batches of `batch_size`."""
        return in_batches(
            self._encode, images, batch_size=self._batch_size, shape=(self.dimension,)
        )

    def _encode(self, images: Sequence[Image.Image]) -> Float[Tensor, "batch dimension"]:
        pixels = torch.stack([self._preprocess(image) for image in images])
        return self._model.encode_image(pixels.to(self._device), normalize=self._normalize)


def _open_clip_name(model: str) -> str:
    """The name under which open_clip opens `model`.

    Raises:
        ValueError: a folder that is missing or lacks one of its two files. open_clip itself would
            go on with random weights.
    """
    if model.startswith("hf-hub:"):
        return model
    folder = Path(model)
    for name in ("open_clip_config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise ValueError(
                f"image_encoder.model={model}: {name} is missing; make the folder with "
                "pixsearch.retrieval.convert_clip or give hf-hub:owner/name"
            )
    return f"local-dir:{folder}"


def _fingerprint(model: torch.nn.Module, model_config: dict) -> str:
    """sha256 of the vision tower's weights, its configuration and its preprocessing."""
    described = {
        "embed_dim": model_config["embed_dim"],
        "quick_gelu": model_config.get("quick_gelu", False),
        "vision_cfg": model_config["vision_cfg"],
        "preprocess_cfg": open_clip.get_model_preprocess_cfg(model),
    }
    return fingerprint(described, model.visual.state_dict())
