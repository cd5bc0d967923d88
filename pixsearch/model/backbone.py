"""Where the image side of a backbone and its language model meet."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import PreTrainedModel

from pixsearch.model.config import PixSearchConfig
from pixsearch.model.families.family import Family, Projected, Size, axis_positions
from pixsearch.model.features import ImageFeatures


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """What the language model is given.

    Attributes:
        embeddings: of tokens, and of patches where the placeholders are.
        is_image: where those are; None if there is no image.
        deepstack: for each of the first layers what is added to its states there, row by row.
        positions: of rows that begin here; where they are None, the backbone counts.
    """

    embeddings: Float[Tensor, "batch length width"]
    is_image: Bool[Tensor, "batch length"] | None = None
    deepstack: tuple[Float[Tensor, "num_image_tokens width"], ...] = ()
    positions: Int[Tensor, "*axes batch length"] | None = None

    @property
    def deepstack_arguments(self) -> dict[str, Any]:
        """What Qwen3-VL's language model calls them."""
        if not self.deepstack:
            return {}
        return {
            "visual_pos_masks": self.is_image,
            "deepstack_visual_embeds": list(self.deepstack),
        }


def embed_images(
    embeddings: Float[Tensor, "batch length width"],
    image_features: ImageFeatures | None,
    image_index: Int[Tensor, " batch"] | None,
    *,
    is_placeholder: Bool[Tensor, "batch length"],
    family: Family,
    backbone: PreTrainedModel,
) -> Embedded:
    """Project the images and put them where their placeholders are.

    Raises:
        ValueError: a row has not one placeholder per patch of its image.
    """
    if image_features is None or image_index is None:
        check_placeholders(is_placeholder, torch.zeros_like(is_placeholder[:, 0], dtype=torch.long))
        embedded = Embedded(embeddings=embeddings)
    else:
        projected = family.project(backbone, image_features.patches, image_features.sizes)
        embedded = splice_patches(
            embeddings, projected, is_placeholder=is_placeholder, image_index=image_index
        )
    if not family.has_axes:
        return embedded
    sizes: list[Size | None] = [None] * len(embeddings)
    if image_features is not None and image_index is not None:
        sizes = [image_features.sizes[i] if i >= 0 else None for i in image_index.tolist()]
    cells = torch.arange(embeddings.shape[1], device=embeddings.device)
    first = is_placeholder.int().argmax(dim=1).tolist()  # 0 without a placeholder
    positions = position_ids(family, cells.expand(len(embeddings), -1), first=first, sizes=sizes)
    return replace(embedded, positions=positions)


def position_ids(
    family: Family,
    cells: Int[Tensor, "batch length"],
    *,
    first: Sequence[int],
    sizes: Sequence[Size | None],
) -> Int[Tensor, "*axes batch length"]:
    """Position ids of tokens, for most backbones their places themselves.

    Args:
        cells: the tokens' places in their sequences, counted from 0.
        first: place of each row's first placeholder.
        sizes: height and width of each row's image, None without one.
    """
    if not family.has_axes:
        return cells
    grids = [family.layout(size).grid if size else (0, 0) for size in sizes]
    return axis_positions(
        cells,
        first=torch.tensor(first, device=cells.device),
        grids=torch.tensor(grids, device=cells.device),
    )


def splice_patches(
    embeddings: Float[Tensor, "batch length width"],
    projected: Sequence[Projected],
    *,
    is_placeholder: Bool[Tensor, "batch length"],
    image_index: Int[Tensor, " batch"],
) -> Embedded:
    """Put the patches of each row's image where its placeholders are.

    Args:
        projected: the images.
        image_index: for each row its image, -1 without one.

    Raises:
        ValueError: a row has not one placeholder per patch of its image.
    """
    of_rows = [projected[index] if index >= 0 else None for index in image_index.tolist()]
    expected = [0 if one is None else one.shape[1] for one in of_rows]
    check_placeholders(is_placeholder, torch.tensor(expected, device=image_index.device))
    seen = [one for one in of_rows if one is not None]
    if not seen:
        return Embedded(embeddings=embeddings)
    first, *deepstack = torch.cat(seen, dim=1).to(embeddings.dtype)
    return Embedded(
        embeddings=embeddings.masked_scatter(is_placeholder[..., None], first),
        is_image=is_placeholder,
        deepstack=tuple(deepstack),
    )


def check_placeholders(
    is_placeholder: Bool[Tensor, "batch length"], expected: Int[Tensor, " batch"]
) -> None:
    """Compare the number of placeholders in each row with that of its image's patches.

    Raises:
        ValueError: they differ; names the first row, with both numbers.
    """
    found = is_placeholder.sum(dim=1)
    wrong = (found != expected).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"row {row} of the batch has {int(found[row])} image placeholders, "
            f"its image {int(expected[row])} patches: render it by this model's own renderer"
        )


def inject_lora(backbone: PreTrainedModel, config: PixSearchConfig) -> None:
    """Put adapters into the language model's own matrices, in place.

    Raises:
        ValueError: (peft's) none of the matrices is called as `config.lora_targets` says.
    """
    adapters = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=config.lora_targets,
    )
    inject_adapter_in_model(adapters, backbone.model.language_model)


@contextmanager
def without_lora(backbone: PreTrainedModel) -> Iterator[None]:
    """The language model as if its adapters were not there."""
    layers = [one for one in backbone.modules() if isinstance(one, LoraLayer)]
    scales = [dict(layer.scaling) for layer in layers]
    try:
        for layer in layers:
            layer.scaling = dict.fromkeys(layer.scaling, 0.0)
        yield
    finally:
        for layer, scaling in zip(layers, scales, strict=True):
            layer.scaling = scaling


def recompute_layers(backbone: PreTrainedModel) -> None:
    """Keep what goes into each layer of the language model, and compute the rest anew for the
    gradient.
    """
    language_model = backbone.model.language_model
    enable = getattr(language_model, "activation_checkpointing_enable", None)
    if enable is None:  # its name before transformers 5.23
        enable = language_model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
