"""A Grounding DINO and a SAM of random weights in tiny numbers, as transformers writes them."""

from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    SamImageProcessor,
    SamModel,
    SamProcessor,
    SwinConfig,
)

from tests.tiny import tiny_segmenter_config

WORDS = ("a", "the", "red", "cup", "lid", "dog", "left", "box")
_VOCABULARY = 1100
_FIXED = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}


def write_detector(folder: Path, *, seed: int = 0, max_text_len: int = 32) -> Path:
    """A detector of 12 queries; BERT's ids of `.` and `?`, which transformers has by heart."""
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64,
            embed_dim=8,
            depths=[1, 1],
            num_heads=[1, 2],
            window_size=2,
            out_indices=[1, 2],
        ),
        text_config=BertConfig(
            vocab_size=_VOCABULARY,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        ),
        num_queries=12,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_feature_levels=3,
        encoder_n_points=2,
        decoder_n_points=2,
        max_text_len=max_text_len,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GroundingDinoForObjectDetection(config)
        for name, weight in model.named_parameters():
            if name.startswith("model.text_projection"):
                weight.data.mul_(8)  # so that scores differ from word to word
    model.save_pretrained(folder)
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessor(size={"shortest_edge": 48, "longest_edge": 96}),
        _tokenizer(folder),
    )
    processor.save_pretrained(folder)
    return folder


def write_sam(folder: Path, *, seed: int = 0) -> Path:
    """The tiny SAM of all tests with its processor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        SamModel(tiny_segmenter_config()).save_pretrained(folder)
    processor = SamImageProcessor(
        size={"longest_edge": 32},
        pad_size={"height": 32, "width": 32},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )
    SamProcessor(processor).save_pretrained(folder)
    return folder


def _tokenizer(folder: Path) -> BertTokenizer:
    names = [f"[unused{id}]" for id in range(_VOCABULARY)]
    for id, token in _FIXED.items():
        names[id] = token
    for place, word in enumerate(WORDS):
        names[1040 + place] = word
    path = folder / "vocab.txt"
    path.write_text("\n".join(names) + "\n")
    return BertTokenizer(str(path), do_lower_case=True)
