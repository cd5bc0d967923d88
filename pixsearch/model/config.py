"""What a PixSearch checkpoint says of itself."""

from typing import Any, no_type_check

from transformers import AutoConfig, PreTrainedConfig, SamConfig

from pixsearch.chat import ChatTemplate
from pixsearch.config import ImageFit, SegState
from pixsearch.tokens import SPECIAL_TOKENS, TokenIds


@no_type_check  # transformers gives it an __init__ that takes more names than its signature says
class PixSearchConfig(PreTrainedConfig):
    """Composite configuration, saved as `config.json`.

    Attributes:
        backbone: the image-text-to-text model (LLaVA).
        segmenter: the promptable segmenter (SAM).
        seg_state, image_fit, lora_*: as in `ModelOptions`.
        token_ids: the fields of `TokenIds`.
        template: the fields of `ChatTemplate`, `restate_question` among them.
        num_image_tokens: placeholders per image, as many as patches.
        vision_mean, vision_std, segmenter_mean, segmenter_std: of colours, 0 to 1 per channel.
    """

    model_type = "pixsearch"
    sub_configs = {"backbone": AutoConfig, "segmenter": SamConfig}  # noqa: RUF012 (transformers' own form)

    backbone: PreTrainedConfig | dict[str, Any] | None = None
    segmenter: PreTrainedConfig | dict[str, Any] | None = None
    seg_state: str = SegState.predicting.value
    image_fit: str = ImageFit.pad.value
    token_ids: dict[str, int] | None = None
    template: dict[str, Any] | None = None
    num_image_tokens: int = 0
    vision_mean: list[float] | None = None
    vision_std: list[float] | None = None
    segmenter_mean: list[float] | None = None
    segmenter_std: list[float] | None = None
    lora_rank: int = 0
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    lora_targets: list[str] | None = None
    tie_word_embeddings: bool = False  # of PixSearch itself; the backbone ties its own

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.backbone, PreTrainedConfig):
            self.backbone = AutoConfig.for_model(**(self.backbone or {"model_type": "llava"}))
        if not isinstance(self.segmenter, PreTrainedConfig):
            self.segmenter = SamConfig(**(self.segmenter or {}))
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
    def num_new_rows(self) -> int:
        return len(SPECIAL_TOKENS)

    @property
    def image_size(self) -> int:
        """Side of the vision tower's square in pixels."""
        return self.backbone.vision_config.image_size

    @property
    def segmenter_size(self) -> int:
        """Side of the segmenter's square in pixels."""
        return self.segmenter.vision_config.image_size

    @property
    def mask_resolution(self) -> int:
        """Side of the mask decoder's output: two transposed convolutions above the embedding."""
        return 4 * self.segmenter.prompt_encoder_config.image_embedding_size
