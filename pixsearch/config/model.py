"""Options of the model."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from pixsearch.config.choices import (
    Attention,
    ChatStyle,
    GroundBy,
    ImageFit,
    Precision,
    Projector,
    Quantization,
    SegState,
)


@dataclass
class ModelOptions:
    """`configs/model/`: which parts PixSearch is composed of."""

    language_model: str = MISSING  # folder or hub id of a transformers image-text-to-text model
    segmenter: str = MISSING  # folder or hub id of a transformers SAM or SAM 2
    chat: ChatStyle = ChatStyle.plain
    projector: Projector = Projector.own
    token_mapping: dict[str, str] = field(default_factory=dict)  # ours -> the backbone's, by ++
    ground_by: GroundBy = GroundBy.seg
    seg_state: SegState = SegState.predicting
    tagger_heads: int = 8  # of ground_by=span
    tagger_width: int = 2048  # inside its feed-forward layer
    tagger_dropout: float = 0.1
    mask_feedback: bool = False  # ground_by=span: earlier masks of a conversation prompt the next
    image_fit: ImageFit = ImageFit.pad  # LLaVA-1.5 alone; the others have their own
    restate_question: bool = False  # evidence ends with the question; part of the checkpoint
    lora_rank: int = 0  # 0: no LoRA
    lora_alpha: int = 16
    lora_dropout: float = 0.05
    lora_targets: list[str] = field(default_factory=lambda: ["q_proj", "v_proj"])
    precision: Precision = Precision.auto
    quantization: Quantization = Quantization.none  # part of the checkpoint
    attention: Attention = Attention.sdpa  # in training; answers are decoded with sdpa
    frozen_in_bf16: bool = False  # keep frozen matrices as bf16 arithmetic rounds them
    gradient_checkpointing: bool = False  # compute layers again in the backward: memory for time


@dataclass
class ConvertOptions:
    """scripts/convert_checkpoint.py: a published LISA, GLaMM, PLUM or Sa2VA."""

    source: str = MISSING  # folder with shards, config.json and tokenizer
    clip: str | None = None  # all but Sa2VA: folder or hub id of the CLIP trained with
    output_dir: str = MISSING
    lora_alpha: float = 16.0  # of the adapters, if they are not merged yet
    decoder_heads: int = 8  # of the mask decoder of SAM or SAM 2
    tagger_heads: int = 8  # PLUM alone: bidir_nhead of its training
    mask_feedback: bool = True  # PLUM alone: keep the weights by which masks prompt the next
    max_length: int | None = None  # of the tokenizer; by default that of the training
