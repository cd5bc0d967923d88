"""What a PixSearch checkpoint says of itself."""

from typing import Any, no_type_check

from transformers import AutoConfig, PreTrainedConfig

from pixsearch.chat_templates import ChatTemplate
from pixsearch.config import (
    GroundBy,
    ImageFit,
    Projector,
    Quantization,
    Resampling,
    SegState,
)
from pixsearch.images import SegmenterFrame
from pixsearch.model.segmenters import Prompting, segmenter_kind
from pixsearch.tokens import TokenIds


@no_type_check  # transformers gives it an __init__ that takes more names than its signature says
class PixSearchConfig(PreTrainedConfig):
    """Composite configuration, saved as `config.json`.

    Attributes:
        backbone: the image-text-to-text model.
        segmenter: the promptable segmenter.
        ground_by, seg_state, tagger_*, mask_feedback, image_fit, projector, lora_*, quantization:
            as in `ModelOptions`. Quantised weights are saved so; transformers'
            `quantization_config` says how they are read.
        token_ids: the fields of `TokenIds`.
        template: the fields of `ChatTemplate`, `restate_question` among them.
        image_processor: transformers' own for the backbone, as its `to_dict` gives it; LLaVA-1.5's
            pixels are made by ours.
        vision_mean, vision_std, segmenter_mean, segmenter_std: of colours, 0 to 1 per channel.
        segmenter_resampling: a `Resampling`.
        padding_points, picks_best_mask: the fields of `Prompting`.
    """

    model_type = "pixsearch"
    sub_configs = {"backbone": AutoConfig, "segmenter": AutoConfig}  # noqa: RUF012 (transformers' own form)

    backbone: PreTrainedConfig | dict[str, Any] | None = None
    segmenter: PreTrainedConfig | dict[str, Any] | None = None
    ground_by: str = GroundBy.seg.value
    tagger_heads: int = 8
    tagger_width: int = 2048
    tagger_dropout: float = 0.1
    mask_feedback: bool = False
    seg_state: str = SegState.predicting.value
    image_fit: str = ImageFit.pad.value
    projector: str = Projector.own.value
    token_ids: dict[str, int] | None = None
    template: dict[str, Any] | None = None
    image_processor: dict[str, Any] | None = None
    vision_mean: list[float] | None = None
    vision_std: list[float] | None = None
    segmenter_mean: list[float] | None = None
    segmenter_std: list[float] | None = None
    segmenter_resampling: str = Resampling.bilinear.value
    padding_points: int = 0
    picks_best_mask: bool = False
    lora_rank: int = 0
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    lora_targets: list[str] | None = None
    quantization: str = Quantization.none.value
    tie_word_embeddings: bool = False  # of PixSearch itself; the backbone ties its own

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.backbone, PreTrainedConfig):
            self.backbone = AutoConfig.for_model(**(self.backbone or {"model_type": "llava"}))
        if not isinstance(self.segmenter, PreTrainedConfig):
            self.segmenter = AutoConfig.for_model(**(self.segmenter or {"model_type": "sam"}))
        super().__post_init__(**kwargs)

    @property
    def ids(self) -> TokenIds:
        return TokenIds(**self.token_ids)

    @property
    def chat_template(self) -> ChatTemplate:
        return ChatTemplate(**(self.template or {}))

    @property
    def restate_question(self) -> bool:
        return self.chat_template.restate_question

    @property
    def image_size(self) -> int:
        """Side of the vision tower's square in pixels."""
        return self.backbone.vision_config.image_size

    @property
    def width(self) -> int:
        """Of the language model's states."""
        return self.backbone.get_text_config().hidden_size

    @property
    def segmenter_frame(self) -> SegmenterFrame:
        """How the segmenter sees an image."""
        kind = segmenter_kind(self.segmenter)
        return SegmenterFrame(
            size=kind.size(self.segmenter),
            resolution=kind.resolution(self.segmenter),
            keeps_ratio=kind.keeps_ratio,
            mean=tuple(self.segmenter_mean),
            std=tuple(self.segmenter_std),
            resampling=Resampling(self.segmenter_resampling),
        )

    @property
    def prompting(self) -> Prompting:
        """How a state prompts the segmenter."""
        return Prompting(padding_points=self.padding_points, picks_best_mask=self.picks_best_mask)
