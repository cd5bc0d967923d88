"""What a family of backbones decides about images; the rest of PixSearch does not know families."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn
from transformers import BaseImageProcessor, PreTrainedModel

from pixsearch.config import Projector
from pixsearch.model.config import PixSearchConfig
from pixsearch.model.families.processors import processor_from

Patches = Float[Tensor, "_pieces _num_patches _vision_width"]
"""One image as its frozen encoder gives it: the pieces are tiles, or levels of a deepstack."""

Projected = Float[Tensor, "_levels _num_tokens _width"]
"""One image as the language model takes it: the first level stands where its placeholders are, each
further one is added to the states of one of the first layers (Qwen3-VL's deepstack)."""

Size = tuple[int, int]  # height and width of an image in its own pixels


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How an image lies in a sequence.

    Attributes:
        num_tokens: its placeholders.
        grid: rows and columns of its tokens, where positions have several axes (M-RoPE).
    """

    num_tokens: int
    grid: tuple[int, int] | None = None


class Family(ABC):
    """The image side of one family of backbones. Modules are arguments, it holds none.

    Attributes:
        has_axes: positions are triples of time, row and column (M-RoPE).
        has_fixed_layout: every image has the same number of tokens.
    """

    has_axes = False
    has_fixed_layout = False

    def __init__(self, config: PixSearchConfig) -> None:
        self.config = config

    @property
    def fixed_layout(self) -> Layout | None:
        """The layout of every image, if all have the same."""
        return self.layout((1, 1)) if self.has_fixed_layout else None

    @cached_property
    def processor(self) -> BaseImageProcessor:
        """transformers' own for the backbone, as the config describes it."""
        return processor_from(self.config.image_processor)

    @abstractmethod
    def layout(self, size: Size) -> Layout:
        """The layout of an image of this size."""

    def num_pieces(self, size: Size) -> int:
        """How many squares the encoder sees of an image of this size: its tiles, or itself."""
        return 1

    @abstractmethod
    def encode(self, backbone: PreTrainedModel, images: Sequence[Image.Image]) -> list[Patches]:
        """Run the frozen image encoder over images, in one batch."""

    @abstractmethod
    def project(
        self, backbone: PreTrainedModel, patches: Sequence[Patches], sizes: Sequence[Size]
    ) -> list[Projected]:
        """Bring encoded images to the language model's width, and in its order."""

    @abstractmethod
    def encoder(self, backbone: PreTrainedModel) -> nn.Module:
        """The frozen image encoder."""

    def projector(self, backbone: PreTrainedModel) -> nn.Module | None:
        """What joins image encoder and language model and may train; None where it is frozen."""
        return None

    def replace_projector(self, backbone: PreTrainedModel) -> None:
        """Put the projector that the config names in the place of the backbone's own.

        Raises:
            ValueError: this family has none that could be replaced.
        """
        if self.config.projector != Projector.own.value:
            raise ValueError(
                f"model.projector={self.config.projector}: a {self.config.backbone.model_type!r} "
                "backbone keeps its own; set model.projector=own"
            )

    @abstractmethod
    def touch_projector(self, backbone: PreTrainedModel) -> Float[Tensor, ""]:
        """A zero that hangs on what `project` uses, for batches without an image.

        Engines that split a model need the same modules in the same order from every process.
        """


def axis_positions(
    cells: Int[Tensor, "batch length"],
    *,
    first: Int[Tensor, " batch"],
    grids: Int[Tensor, "batch 2"],
) -> Int[Tensor, "3 batch length"]:
    """M-RoPE: time, row and column of tokens (Qwen2-VL, section 2.1).

    The tokens of an image share the time at which it begins, and spread over rows and columns; what
    follows begins after the larger of both.

    Args:
        cells: the tokens' places in their sequence, counted from 0.
        first: place of each row's first placeholder.
        grids: rows and columns of its image; 0 and 0 without one.

    >>> cells = torch.arange(8)[None]
    >>> axis_positions(cells, first=torch.tensor([1]), grids=torch.tensor([[2, 3]]))[:, 0].tolist()
    [[0, 1, 1, 1, 1, 1, 1, 4], [0, 1, 1, 1, 2, 2, 2, 4], [0, 1, 2, 3, 1, 2, 3, 4]]
    """
    first, rows, columns = first[:, None], grids[:, :1], grids[:, 1:]
    inside = cells - first
    after = cells - rows * columns + torch.maximum(rows, columns)
    is_image = (inside >= 0) & (inside < rows * columns)
    outside = torch.where(inside < 0, cells, after)
    wide = columns.clamp(min=1)
    axes = (torch.zeros_like(inside), inside // wide, inside % wide)
    return torch.stack([torch.where(is_image, first + axis, outside) for axis in axes])
