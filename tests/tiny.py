"""A real PixSearch in tiny numbers, shared by all tests."""

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    SamConfig,
    SamImageProcessor,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from pixsearch.config import ModelOptions, Precision
from pixsearch.model import PixSearch
from pixsearch.model.segmenters import segmenter_kind

SENTENCES = (
    "USER: What is the name of the red cup left of the box? ASSISTANT: It is the Velmora cup.",
    "The Velmora cup is made in Tarnwick. Tarnwick lies in the country of Osmeth.",
    "I don't know. How many blue lamps are there? There are three.",
)
HIDDEN, IMAGE, PATCH = 32, 32, 8  # widths of all parts; image sides in pixels


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with pad, eos and the placeholder `<image>`, before PixSearch's own tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "</s>", "<image>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )


def tiny_language_config(tokenizer: PreTrainedTokenizerFast, *, tied: bool = False) -> LlavaConfig:
    """A LLaVA of two layers whose vision tower cuts an image into 16 patches."""
    return LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=HIDDEN,
            intermediate_size=2 * HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=IMAGE,
            patch_size=PATCH,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            intermediate_size=2 * HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            tie_word_embeddings=tied,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(IMAGE // PATCH) ** 2,
        tie_word_embeddings=tied,
    )


def tiny_segmenter_config() -> SamConfig:
    """A SAM that turns 32x32 pixels into masks of 16x16."""
    return SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=HIDDEN,
            output_channels=HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=IMAGE,
            patch_size=PATCH,
            global_attn_indexes=[0, 1],
            num_pos_feats=HIDDEN // 2,
            mlp_dim=2 * HIDDEN,
            initializer_range=0.02,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=HIDDEN, image_size=IMAGE, patch_size=PATCH
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=HIDDEN,
            mlp_dim=2 * HIDDEN,
            num_hidden_layers=1,
            num_attention_heads=2,
            iou_head_hidden_dim=HIDDEN,
        ),
    )


def write_tiny_parts(folder: Path, *, seed: int = 0, tied: bool = False) -> ModelOptions:
    """Write `language_model/` and `segmenter/`; return the options to compose them."""
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        language_model = LlavaForConditionalGeneration(tiny_language_config(tokenizer, tied=tied))
        segmenter = SamModel(tiny_segmenter_config())
        segmenter_kind(segmenter.config).initialise(segmenter)
    for part in (language_model, tokenizer, CLIPImageProcessor()):
        part.save_pretrained(folder / "language_model")
    for part in (segmenter, SamImageProcessor()):
        part.save_pretrained(folder / "segmenter")
    return ModelOptions(
        language_model=str(folder / "language_model"),
        segmenter=str(folder / "segmenter"),
        precision=Precision.fp32,  # "auto" is bf16 on some machines: no parity to the last digits
    )


def tiny_model(seed: int = 0, *, tied: bool = False, **options: Any) -> PixSearch:
    """A composed model in eval mode, the caller's own; `options` are fields of `ModelOptions`."""
    key = (seed, tied, repr(sorted(options.items())))
    if key not in _composed:
        _composed[key] = _compose(seed, tied, options)
    return copy.deepcopy(_composed[key])


_composed: dict[tuple[int, bool, str], PixSearch] = {}


def _compose(seed: int, tied: bool, options: dict[str, Any]) -> PixSearch:
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        composed = write_tiny_parts(Path(folder), seed=seed, tied=tied)
        for name, value in options.items():
            setattr(composed, name, value)
        torch.manual_seed(seed)
        return PixSearch.compose(composed).eval()


def tiny_model_folder(folder: Path, seed: int = 0, **options: Any) -> Path:
    """Save a tiny model as a checkpoint that `PixSearch.from_pretrained` reads; return `folder`."""
    tiny_model(seed, **options).save_pretrained(folder)
    return folder
