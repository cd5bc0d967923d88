"""Models of random weights in a size of one's choice: a LLaVA with a SAM, for benchmarks."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    PreTrainedTokenizerFast,
    SamConfig,
    SamImageProcessor,
    SamMaskDecoderConfig,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from pixsearch.chat_templates import TEMPLATES
from pixsearch.config import ChatStyle, ModelOptions
from pixsearch.model.composing import composite_config
from pixsearch.model.pixsearch import PixSearch
from pixsearch.tokens import add_special_tokens, find_token_ids

IMAGE_TOKEN = "<image>"
PATCH = 14  # pixels a side, as CLIP ViT-L/14
HEAD_WIDTH, TOWER_HEAD_WIDTH = 64, 32
NEW_ROW_DEVIATION = 0.02


@dataclass(frozen=True, kw_only=True)
class DrawnSizes:
    """Sizes of the parts.

    Attributes:
        vocabulary: tokens of the tokenizer, PixSearch's own not counted.
        spare_rows: of the language model's matrices beyond the vocabulary.
        tower_side, segmenter_side: pixels.
    """

    vocabulary: int
    spare_rows: int = 0
    width: int
    layers: int
    tower_width: int
    tower_layers: int
    tower_side: int
    segmenter_width: int
    segmenter_layers: int
    segmenter_side: int


def draw_model(
    sizes: DrawnSizes, options: ModelOptions, *, words: Iterable[str], seed: int
) -> PixSearch:
    """A model whose tokenizer was trained on `words` and whose weights are random."""
    torch.manual_seed(seed)
    tokenizer = _tokenizer(words, sizes.vocabulary)
    backbone = _backbone(sizes, tokenizer)
    add_special_tokens(tokenizer)
    config = composite_config(
        options,
        backbone=backbone,
        segmenter=_segmenter(sizes),
        token_ids=find_token_ids(tokenizer, image_token_id=backbone.image_token_id),
        template=TEMPLATES[ChatStyle.llava_v1],
        vision=CLIPImageProcessor(
            size={"shortest_edge": sizes.tower_side},
            crop_size={"height": sizes.tower_side, "width": sizes.tower_side},
        ),
        pixels=SamImageProcessor(),
    )
    model = PixSearch(config, tokenizer=tokenizer)
    with torch.no_grad():
        for rows in model.new_rows.parameters():
            rows.normal_(std=NEW_ROW_DEVIATION)
    model.grounding.draw(state_size=1.0)
    return model


def _tokenizer(words: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<pad>", "</s>", IMAGE_TOKEN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")


def _backbone(sizes: DrawnSizes, tokenizer: PreTrainedTokenizerFast) -> LlavaConfig:
    return LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=sizes.tower_width,
            intermediate_size=4 * sizes.tower_width,
            num_hidden_layers=sizes.tower_layers,
            num_attention_heads=sizes.tower_width // TOWER_HEAD_WIDTH,
            image_size=sizes.tower_side,
            patch_size=PATCH,
        ),
        text_config=LlamaConfig(
            vocab_size=sizes.vocabulary + sizes.spare_rows,
            hidden_size=sizes.width,
            intermediate_size=sizes.width * 27 // 10,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.width // HEAD_WIDTH,
            num_key_value_heads=sizes.width // HEAD_WIDTH,
            max_position_embeddings=4096,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_seq_length=(sizes.tower_side // PATCH) ** 2,
    )


def _segmenter(sizes: DrawnSizes) -> SamConfig:
    channels = 64
    side = sizes.segmenter_side
    return SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=sizes.segmenter_width,
            output_channels=channels,
            num_hidden_layers=sizes.segmenter_layers,
            num_attention_heads=sizes.segmenter_width // 64,
            image_size=side,
            patch_size=16,
            window_size=14,
            global_attn_indexes=[sizes.segmenter_layers - 1],
            num_pos_feats=channels // 2,
            mlp_dim=4 * sizes.segmenter_width,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=channels, image_size=side, patch_size=16
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=channels,
            mlp_dim=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            iou_head_hidden_dim=channels,
        ),
    )
