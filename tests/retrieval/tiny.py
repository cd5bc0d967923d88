"""Tiny random encoders, written to disk by the libraries that read them."""

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ConvNextConfig,
    DINOv3ConvNextModel,
    DINOv3ViTConfig,
    DINOv3ViTImageProcessor,
    DINOv3ViTModel,
    MPNetConfig,
    MPNetModel,
    MPNetTokenizerFast,
)

VIT = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
NUM_REGISTERS = 4
WORDS = "who made the red tower of this town in query : a b c d e f g ?"
SPECIAL = {
    "bert": "[PAD] [UNK] [CLS] [SEP] [MASK]",
    "mpnet": "<s> <pad> </s> <unk> [UNK] <mask>",
}


def drawn(model: nn.Module) -> nn.Module:
    """With noise on all weights: biases and norms start at 0 and 1, which hides mistakes."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.eval()


def write_dino(folder: Path, kind: str) -> Path:
    """A DINO whose squares are 64 pixels, its processor of the class that its hub id has."""
    model = {
        "dinov2": lambda: Dinov2Model(Dinov2Config(**VIT, image_size=64, patch_size=16)),
        "dinov2_with_registers": lambda: Dinov2WithRegistersModel(
            Dinov2WithRegistersConfig(
                **VIT, image_size=64, patch_size=16, num_register_tokens=NUM_REGISTERS
            )
        ),
        "dinov3_vit": lambda: DINOv3ViTModel(
            DINOv3ViTConfig(**VIT, image_size=64, patch_size=16, num_register_tokens=NUM_REGISTERS)
        ),
        "dinov3_convnext": lambda: DINOv3ConvNextModel(
            DINOv3ConvNextConfig(hidden_sizes=[8, 12, 16, 48], depths=[1, 1, 1, 1])
        ),
    }[kind]()
    drawn(model).save_pretrained(folder)
    if kind.startswith("dinov3"):
        processor = DINOv3ViTImageProcessor(size={"height": 64, "width": 64})
    else:
        crop = {"height": 64, "width": 64}
        processor = BitImageProcessor(size={"shortest_edge": 72}, crop_size=crop)
    processor.save_pretrained(folder)
    return folder


def write_clip(folder: Path, *, side: int = 32, crop: int = 32) -> Path:
    """A whole CLIP of 24 dimensions. Its vision part's own `projection_dim` is the default 512."""
    vision = {**VIT, "image_size": side, "patch_size": 8}
    text = {**VIT, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1}
    drawn(
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
    ).save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": crop, "width": crop}
    ).save_pretrained(folder)
    return folder


def write_plain_text_model(folder: Path, kind: str = "bert") -> Path:
    """A transformer of words with its tokenizer, without a pooling."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [*SPECIAL[kind].split(), *WORDS.split()]
    (folder / "vocab.txt").write_text("\n".join(words))
    sizes = {**VIT, "vocab_size": len(words), "max_position_embeddings": 32}
    if kind == "bert":
        model = BertModel(BertConfig(**sizes))
        tokenizer = BertTokenizerFast.from_pretrained(folder, model_max_length=24)
    else:
        model = MPNetModel(MPNetConfig(**sizes, pad_token_id=1))
        tokenizer = MPNetTokenizerFast.from_pretrained(folder, model_max_length=24)
    drawn(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_sentence_transformer(
    folder: Path, kind: str = "bert", *, pooling: str = "mean", last: nn.Module | None = None
) -> Path:
    """What sentence-transformers saves: transformer, pooling and a last step (or normalisation)."""
    plain = write_plain_text_model(folder.with_name(f"{folder.name}-plain"), kind)
    steps = [
        modules.Transformer(str(plain)),
        modules.Pooling(VIT["hidden_size"], pooling),
        last or modules.Normalize(),
    ]
    SentenceTransformer(modules=steps, device="cpu").save(str(folder))
    return folder
