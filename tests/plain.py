"""Tiny checkpoints of plain image-text-to-text models, as transformers writes them."""

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForImageTextToText,
    CLIPImageProcessor,
    LlavaProcessor,
    MllamaConfig,
    MllamaImageProcessor,
    MllamaProcessor,
    PreTrainedConfig,
    ProcessorMixin,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from pixsearch.generation.baseline import PlainModel
from tests.families import CHATML, FAMILIES, VISION
from tests.tiny import HIDDEN, IMAGE, PATCH, tiny_language_config, tiny_tokenizer

WORDS = "{% if part.type == 'image' %}IMAGE{% else %}{{ part.text }}{% endif %}"
PARTS = "{% for part in message.content %}" + WORDS + "{% endfor %}"
LLAVA_TEMPLATE = (
    "{% for message in messages %}{{ message.role | upper }}: "
    + PARTS.replace("IMAGE", "<image>\n")
    + " {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}"
    "<|end_header_id|>\n\n" + PARTS.replace("IMAGE", "<|image|>") + "<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    + PARTS.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    + "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_TOKENS = ("<s>", "<|image|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")

Parts = tuple[PreTrainedConfig, ProcessorMixin]


def _llava() -> Parts:
    """Its tokenizer writes `<s>` itself, as LLaMA's does."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": IMAGE}, crop_size={"height": IMAGE, "width": IMAGE}
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_TEMPLATE,
    )
    return tiny_language_config(tokenizer), processor


def _mllama() -> Parts:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken(one, special=True) for one in LLAMA_TOKENS])
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "<|eot_id|>"})
    config = MllamaConfig(
        vision_config={
            "hidden_size": HIDDEN,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "intermediate_size": 2 * HIDDEN,
            "vision_output_dim": 2 * HIDDEN,
            "image_size": IMAGE,
            "patch_size": PATCH,
            "intermediate_layers_indices": [0],
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "cross_attention_layers": [1],
            "max_position_embeddings": 2048,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
    )
    processor = MllamaProcessor(
        image_processor=MllamaImageProcessor(size={"height": IMAGE, "width": IMAGE}),
        tokenizer=tokenizer,
        chat_template=LLAMA_TEMPLATE,
    )
    return config, processor


def _qwen2_5_vl() -> Parts:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([*CHATML, *VISION], special_tokens=True)
    tokenizer.eos_token = "<|im_end|>"
    config = FAMILIES["qwen2_5_vl"][2](tokenizer)
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            patch_size=PATCH, size={"shortest_edge": 32 * 32, "longest_edge": 96 * 96}
        ),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(patch_size=PATCH),
        chat_template=QWEN_TEMPLATE,
    )
    return config, processor


PLAIN: dict[str, Callable[[], Parts]] = {
    "llava": _llava,
    "mllama": _mllama,
    "qwen2_5_vl": _qwen2_5_vl,
}


def write_plain(folder: Path, name: str = "llava") -> Path:
    """Write a checkpoint of random weights; return `folder`."""
    config, processor = PLAIN[name]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(config)
        for key, each in model.named_parameters():
            if each.ndim > 1:
                torch.nn.init.normal_(each, std=0.3)  # no rounding then changes an argmax
            elif key.endswith("gate"):
                torch.nn.init.ones_(each)  # Mllama's are closed at first: no image would be seen
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@cache
def plain_model(name: str = "llava") -> PlainModel:
    """A loaded one, for tests that do not change it."""
    with tempfile.TemporaryDirectory() as folder:
        return PlainModel.from_pretrained(write_plain(Path(folder), name))
