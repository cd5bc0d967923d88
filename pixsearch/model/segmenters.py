"""The promptable segmenters: what PixSearch needs of them and they do not offer as one call.

A segmenter is one of transformers' models; its kind says in which points it differs from SAM.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    Sam2Model,
    Sam3TrackerModel,
    SamModel,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmenterFeatures:
    """What a segmenter's image encoder made of several images.

    Attributes:
        embedding: what the mask decoder looks at.
        finer: maps of higher resolution that its upscaling adds, finest first; SAM has none.
    """

    embedding: Float[Tensor, "num_images channels grid_height grid_width"]
    finer: tuple[Float[Tensor, "num_images _channels _height _width"], ...] = ()

    def __len__(self) -> int:
        return len(self.embedding)

    @property
    def nbytes(self) -> int:
        return self.embedding.nbytes + sum(one.nbytes for one in self.finer)

    def index(self, rows: Sequence[int] | Tensor) -> "SegmenterFeatures":
        """The images at `rows`, in that order."""
        rows = rows if isinstance(rows, Tensor) else list(rows)
        return SegmenterFeatures(
            embedding=self.embedding[rows], finer=tuple(one[rows] for one in self.finer)
        )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "SegmenterFeatures":
        """The same on another device, or stored in another precision."""
        return SegmenterFeatures(
            embedding=self.embedding.to(device=device, dtype=dtype),
            finer=tuple(one.to(device=device, dtype=dtype) for one in self.finer),
        )

    @classmethod
    def cat(cls, features: Sequence["SegmenterFeatures"]) -> "SegmenterFeatures":
        """All the images of several, in order."""
        levels = zip(*(one.finer for one in features), strict=True)
        return cls(
            embedding=torch.cat([one.embedding for one in features]),
            finer=tuple(torch.cat(level) for level in levels),
        )


@dataclass(frozen=True, kw_only=True)
class Prompting:
    """How a prompt is put to a mask decoder, and which of its masks is taken.

    Attributes:
        padding_points: points without a place that stand before the prompt (Sa2VA has two).
        picks_best_mask: of the masks for prompts that are ambiguous the one that the decoder
            itself thinks best (Sa2VA); else the one mask for those that are not.
    """

    padding_points: int = 0
    picks_best_mask: bool = False


PLAIN = Prompting()


class Sam:
    """SAM (Kirillov et al. 2023): one map per image, the aspect ratio is kept.

    Attributes:
        model_class: transformers'.
    """

    keeps_ratio = True

    def __init__(self, model_class: type[PreTrainedModel]) -> None:
        self.model_class = model_class

    def size(self, config: PreTrainedConfig) -> int:
        """Side of the square that the encoder takes, in pixels."""
        return config.vision_config.image_size

    def resolution(self, config: PreTrainedConfig) -> int:
        """Side of the masks: two transposed convolutions above the embedding."""
        prompts = config.prompt_encoder_config
        return 4 * (prompts.image_size // prompts.patch_size)

    def prepare(self, segmenter: PreTrainedModel) -> None:
        """Change a loaded model, in place, so that what is trained is what is used."""

    def initialise(self, segmenter: PreTrainedModel) -> None:
        """Draw the matrix of the Fourier positional encoding as SAM itself does, N(0, 1).

        For segmenters built from a config. transformers draws it with a deviation of half the
        encoder's width; neighbouring places then have unrelated encodings, and nothing can be
        located.
        """
        matrix = segmenter.shared_image_embedding.positional_embedding
        nn.init.normal_(matrix)
        segmenter.prompt_encoder.shared_embedding.positional_embedding = matrix

    def encode(
        self, segmenter: PreTrainedModel, pixel_values: Float[Tensor, "num_images 3 size size"]
    ) -> SegmenterFeatures:
        """Run the image encoder."""
        return SegmenterFeatures(embedding=segmenter.get_image_embeddings(pixel_values))

    def decode(
        self,
        segmenter: PreTrainedModel,
        prompts: Float[Tensor, "num_masks channels"],
        features: SegmenterFeatures,
        prompting: Prompting = PLAIN,
        dense: Float[Tensor, "num_masks channels grid_height grid_width"] | None = None,
    ) -> Float[Tensor, "num_masks low low"]:
        """Decode one mask per prompt, all in one call, each on its own image.

        A prompt stands where points and boxes have theirs.

        Args:
            dense: the dense prompts; by default that for "no mask".
        """
        nothing = _no_mask(segmenter)
        features = features.to(dtype=nothing.dtype)
        mask_logits, scores, *_ = segmenter.mask_decoder(
            image_embeddings=features.embedding,
            image_positional_embeddings=self.places(segmenter).expand(len(prompts), -1, -1, -1),
            sparse_prompt_embeddings=_padded(segmenter, prompts, prompting)[:, None],
            dense_prompt_embeddings=nothing if dense is None else dense,
            multimask_output=prompting.picks_best_mask,
            **self._finer(features),
        )
        return _best(mask_logits[:, 0], scores[:, 0])

    def places(
        self, segmenter: PreTrainedModel
    ) -> Float[Tensor, "1 channels grid_height grid_width"]:
        """The positional encoding of the grid."""
        with torch.autocast(segmenter.device.type, enabled=False):  # phases would be off by 0.05
            return segmenter.get_image_wide_positional_embeddings()

    def nothing(self, segmenter: PreTrainedModel) -> SegmenterFeatures:
        """Zeros in the shape of one image's features."""
        prompts = segmenter.config.prompt_encoder_config
        side = prompts.image_size // prompts.patch_size
        zeros = torch.zeros(1, prompts.hidden_size, side, side, device=segmenter.device)
        return SegmenterFeatures(embedding=zeros)

    def encoder_names(self) -> tuple[str, ...]:
        """Modules and parameters that the image encoder alone uses."""
        return ("vision_encoder",)

    def idle_parameters(
        self, segmenter: PreTrainedModel, prompting: Prompting = PLAIN
    ) -> Iterator[nn.Parameter]:
        """Of the mask decoder: those that the mask has no gradient for."""
        decoder = segmenter.mask_decoder
        yield from decoder.iou_prediction_head.parameters()
        mlps = decoder.output_hypernetworks_mlps
        yield from (mlps[:1] if prompting.picks_best_mask else mlps[1:]).parameters()

    def _finer(self, features: SegmenterFeatures) -> dict[str, list[Tensor]]:
        return {}


class Sam2(Sam):
    """SAM 2 (Ravi et al. 2024): three maps per image, which is squashed."""

    keeps_ratio = False

    def size(self, config: PreTrainedConfig) -> int:
        return config.prompt_encoder_config.image_size

    def prepare(self, segmenter: PreTrainedModel) -> None:
        """Always take the mask that is trained.

        SAM 2 otherwise replaces an unsteady one, at inference alone, by one of three others.
        """
        segmenter.config.mask_decoder_config.dynamic_multimask_via_stability = False
        segmenter.mask_decoder.dynamic_multimask_via_stability = False

    def initialise(self, segmenter: PreTrainedModel) -> None:
        """transformers draws SAM 2's matrix as it should be."""

    def encode(
        self, segmenter: PreTrainedModel, pixel_values: Float[Tensor, "num_images 3 size size"]
    ) -> SegmenterFeatures:
        *finer, embedding = segmenter.get_image_embeddings(pixel_values)
        return SegmenterFeatures(embedding=embedding, finer=tuple(finer))

    def encoder_names(self) -> tuple[str, ...]:
        borrowed = ("mask_decoder.conv_s0", "mask_decoder.conv_s1", "no_memory_embedding")
        return (*super().encoder_names(), *borrowed)

    def nothing(self, segmenter: PreTrainedModel) -> SegmenterFeatures:
        embedding = super().nothing(segmenter).embedding
        _, channels, height, width = embedding.shape
        shapes = [
            (1, channels // 8, 4 * height, 4 * width),
            (1, channels // 4, 2 * height, 2 * width),
        ]
        return SegmenterFeatures(
            embedding=embedding, finer=tuple(embedding.new_zeros(shape) for shape in shapes)
        )

    def idle_parameters(
        self, segmenter: PreTrainedModel, prompting: Prompting = PLAIN
    ) -> Iterator[nn.Parameter]:
        """Also the head that tells whether there is an object, and what the encoder borrows."""
        yield from super().idle_parameters(segmenter, prompting)
        decoder = segmenter.mask_decoder
        for module in (decoder.pred_obj_score_head, decoder.conv_s0, decoder.conv_s1):
            yield from module.parameters()

    def _finer(self, features: SegmenterFeatures) -> dict[str, list[Tensor]]:
        return {"high_resolution_features": list(features.finer)}


class Sam3(Sam2):
    """SAM 3's tracker (Carion et al. 2025): SAM 2's decoder on the maps of a plain ViT."""

    def encode(
        self, segmenter: PreTrainedModel, pixel_values: Float[Tensor, "num_images 3 size size"]
    ) -> SegmenterFeatures:
        """As `get_image_embeddings`, with the embedding of "no memory" where SAM 3 has it.

        The neck makes a fourth map that the decoder does not read. transformers 5.23 adds that
        embedding to the fourth instead of the third; its own video model does not.
        """
        sizes = segmenter.backbone_feature_sizes
        with torch.no_grad():
            maps = segmenter.get_image_features(pixel_values, return_dict=True).fpn_hidden_states
            *finer, embedding = maps[: len(sizes)]
            maps = (*finer, embedding + segmenter.no_memory_embedding)
        shaped = [
            one.permute(1, 2, 0).unflatten(2, tuple(size))
            for one, size in zip(maps, sizes, strict=True)
        ]
        return SegmenterFeatures(embedding=shaped[-1], finer=tuple(shaped[:-1]))


SEGMENTERS: dict[str, Sam] = {
    "sam": Sam(SamModel),
    "sam2": Sam2(Sam2Model),
    "sam2_video": Sam2(Sam2Model),  # what the hub's SAM 2 checkpoints call themselves
    "sam3_tracker": Sam3(Sam3TrackerModel),
    "sam3_tracker_video": Sam3(Sam3TrackerModel),  # the part of `sam3_video` that is loaded
    "sam3_video": Sam3(Sam3TrackerModel),  # what the hub's SAM 3 checkpoint calls itself
}
"""`model_type` of a transformers config -> its kind."""


def segmenter_kind(config: PreTrainedConfig) -> Sam:
    """The kind of a segmenter.

    Raises:
        ValueError: PixSearch has none for it.
    """
    if config.model_type not in SEGMENTERS:
        raise ValueError(
            f"model.segmenter: a {config.model_type!r} model cannot be prompted by states; "
            f"choose one of {', '.join(SEGMENTERS)}"
        )
    return SEGMENTERS[config.model_type]


def _no_mask(segmenter: PreTrainedModel) -> Float[Tensor, "1 channels grid_height grid_width"]:
    """The dense prompt that stands for "no mask"."""
    _, dense = segmenter.prompt_encoder(
        input_points=None, input_labels=None, input_boxes=None, input_masks=None
    )
    return dense


def _padded(
    segmenter: PreTrainedModel, prompts: Float[Tensor, "num_masks channels"], prompting: Prompting
) -> Float[Tensor, "num_masks length channels"]:
    """Each prompt behind its padding points."""
    point = segmenter.prompt_encoder.not_a_point_embed.weight
    padding = point.expand(len(prompts), prompting.padding_points, -1)
    return torch.cat([padding.to(prompts.dtype), prompts[:, None]], dim=1)


def _best(
    mask_logits: Float[Tensor, "num_masks number low low"],
    scores: Float[Tensor, "num_masks number"],
) -> Float[Tensor, "num_masks low low"]:
    """The mask of each prompt that has the highest score.

    A sum with ones and zeros: the masks not taken then have a gradient of zero, where processes
    that train together would otherwise have gradients for different weights.
    """
    if scores.shape[1] == 1:
        return mask_logits[:, 0]
    taken = nn.functional.one_hot(scores.argmax(dim=1), scores.shape[1])
    return torch.einsum("mn,mnhw->mhw", taken.to(mask_logits.dtype), mask_logits)
