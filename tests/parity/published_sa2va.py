"""A tiny random checkpoint in the published names and shapes of Sa2VA."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from pixsearch.model.published.sam2 import Sam2Facts
from tests.parity.plain_sa2va import CONTEXT, INSTRUCTIONS, SAM_PREFIX, PlainSa2va
from tests.parity.plain_sam2 import Hiera
from tests.parity.published import QUESTION

Shapes = dict[str, tuple[int, ...]]
WIDTH, INNER, LAYERS, HEADS, KEY_HEADS, ROPE_BASE = 32, 48, 2, 4, 2, 1000.0
VISION_WIDTH, VISION_HEADS, TILE, PATCH = 16, 2, 28, 7
CHANNELS, MLP = 32, 64
# as Hiera's: padded windows (6 in a map of 8), a block that sees all, stages of unlike length
FACTS = Sam2Facts(
    stages=(1, 2, 3, 2), image_size=128, heads=1, windows=(8, 4, 6, 3), global_blocks=(4,)
)
DECODER_HEADS = 2
QWEN_SPLIT = (  # Qwen2's own
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BASE_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", CONTEXT)
NEW_TOKENS = ("[SEG]", "<p>", "</p>", "<vp>", "</vp>")  # in the order in which Sa2VA adds them
MEMORY_NAMES = (
    "maskmem_tpos_enc",
    "no_mem_pos_enc",
    "no_obj_ptr",
    "mask_downsample.weight",
    "obj_ptr_proj.layers.0.weight",
    "memory_attention.layers.0.self_attn.q_proj.weight",
    "memory_encoder.fuser.layers.0.g_weight",
)


def published_tokenizer() -> PreTrainedTokenizerFast:
    """Qwen2-like: bytes, split by its expression."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [text.format(input=QUESTION) for text in INSTRUCTIONS.values()]
    tokenizer.train_from_iterator([*texts, "Sure, it is."] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    fast.add_tokens([*BASE_TOKENS, *NEW_TOKENS], special_tokens=True)
    fast.eos_token, fast.pad_token = "<|im_end|>", "<|endoftext|>"
    return fast


def published_shapes(vocabulary: int) -> Shapes:
    """Names and shapes of the whole."""
    shapes: Shapes = {
        "language_model.model.embed_tokens.weight": (vocabulary, WIDTH),
        "language_model.lm_head.weight": (vocabulary, WIDTH),
        "language_model.model.norm.weight": (WIDTH,),
        **_linear("text_hidden_fcs.0", WIDTH, WIDTH),
        **_linear("text_hidden_fcs.2", CHANNELS, WIDTH),
        **_norm("mlp1.0", 4 * VISION_WIDTH),
        **_linear("mlp1.1", WIDTH, 4 * VISION_WIDTH),
        **_linear("mlp1.3", WIDTH, WIDTH),
    }
    for layer in range(LAYERS):
        shapes |= _language_layer(f"language_model.model.layers.{layer}")
    sam = sam2_shapes(trunk_shapes(8, FACTS.stages, FACTS.windows[0]))
    sam |= dict.fromkeys(MEMORY_NAMES, (2, 2))
    return shapes | _tower() | {SAM_PREFIX + name: shape for name, shape in sam.items()}


def sam2_shapes(trunk: Shapes) -> Shapes:
    """Of all that PixSearch uses of a SAM 2."""
    return trunk | _prompt_encoder() | _mask_decoder()


def _language_layer(at: str) -> Shapes:
    keys = WIDTH // HEADS * KEY_HEADS
    shapes: Shapes = {f"{at}.self_attn.o_proj.weight": (WIDTH, WIDTH)}
    for part, out in (("q", WIDTH), ("k", keys), ("v", keys)):
        shapes |= _linear(f"{at}.self_attn.{part}_proj", out, WIDTH)
    for part in ("gate", "up"):
        shapes[f"{at}.mlp.{part}_proj.weight"] = (INNER, WIDTH)
    shapes[f"{at}.mlp.down_proj.weight"] = (WIDTH, INNER)
    for part in ("input_layernorm", "post_attention_layernorm"):
        shapes[f"{at}.{part}.weight"] = (WIDTH,)
    return shapes


def _tower() -> Shapes:
    at = "vision_model.embeddings"
    shapes: Shapes = {
        f"{at}.class_embedding": (1, 1, VISION_WIDTH),
        f"{at}.position_embedding": (1, (TILE // PATCH) ** 2 + 1, VISION_WIDTH),
        f"{at}.patch_embedding.weight": (VISION_WIDTH, 3, PATCH, PATCH),
        f"{at}.patch_embedding.bias": (VISION_WIDTH,),
    }
    for layer in range(2):
        at = f"vision_model.encoder.layers.{layer}"
        shapes |= {f"{at}.ls1": (VISION_WIDTH,), f"{at}.ls2": (VISION_WIDTH,)}
        shapes |= _norm(f"{at}.norm1", VISION_WIDTH) | _norm(f"{at}.norm2", VISION_WIDTH)
        shapes |= _linear(f"{at}.attn.qkv", 3 * VISION_WIDTH, VISION_WIDTH)
        shapes |= _linear(f"{at}.attn.proj", VISION_WIDTH, VISION_WIDTH)
        shapes |= _linear(f"{at}.mlp.fc1", 2 * VISION_WIDTH, VISION_WIDTH)
        shapes |= _linear(f"{at}.mlp.fc2", VISION_WIDTH, 2 * VISION_WIDTH)
    return shapes


def trunk_shapes(width: int, stages: tuple[int, ...], window: int) -> Shapes:
    """Of Hiera and the neck; `width` is that of the first stage."""
    at = "image_encoder.trunk"
    widths = [width * 2**stage for stage, number in enumerate(stages) for _ in range(number)]
    shapes: Shapes = {
        f"{at}.pos_embed": (1, widths[0], 7, 7),
        f"{at}.pos_embed_window": (1, widths[0], window, window),
        f"{at}.patch_embed.proj.weight": (widths[0], 3, 7, 7),
        f"{at}.patch_embed.proj.bias": (widths[0],),
    }
    for block, (before, after) in enumerate(zip([width, *widths], widths, strict=False)):
        name = f"{at}.blocks.{block}"
        shapes |= _norm(f"{name}.norm1", before) | _norm(f"{name}.norm2", after)
        shapes |= _linear(f"{name}.attn.qkv", 3 * after, before)
        shapes |= _linear(f"{name}.attn.proj", after, after)
        shapes |= _linear(f"{name}.mlp.layers.0", 4 * after, after)
        shapes |= _linear(f"{name}.mlp.layers.1", after, 4 * after)
        if before != after:
            shapes |= _linear(f"{name}.proj", after, before)
    for place, inputs in enumerate(sorted(set(widths), reverse=True)):
        name = f"image_encoder.neck.convs.{place}.conv"
        shapes |= {f"{name}.weight": (CHANNELS, inputs, 1, 1), f"{name}.bias": (CHANNELS,)}
    return shapes


def _prompt_encoder() -> Shapes:
    at = "sam_prompt_encoder"
    shapes: Shapes = {
        "no_mem_embed": (1, 1, CHANNELS),
        f"{at}.pe_layer.positional_encoding_gaussian_matrix": (2, CHANNELS // 2),
        f"{at}.not_a_point_embed.weight": (1, CHANNELS),
        f"{at}.no_mask_embed.weight": (1, CHANNELS),
        **{f"{at}.point_embeddings.{point}.weight": (1, CHANNELS) for point in range(4)},
        **_norm(f"{at}.mask_downscaling.1", 4),
        **_norm(f"{at}.mask_downscaling.4", 16),
    }
    for place, out, inputs, side in ((0, 4, 1, 2), (3, 16, 4, 2), (6, CHANNELS, 16, 1)):
        shapes[f"{at}.mask_downscaling.{place}.weight"] = (out, inputs, side, side)
        shapes[f"{at}.mask_downscaling.{place}.bias"] = (out,)
    return shapes


def _mask_decoder() -> Shapes:
    at = "sam_mask_decoder"
    shapes: Shapes = {
        f"{at}.iou_token.weight": (1, CHANNELS),
        f"{at}.obj_score_token.weight": (1, CHANNELS),
        f"{at}.mask_tokens.weight": (4, CHANNELS),
        f"{at}.output_upscaling.0.weight": (CHANNELS, CHANNELS // 4, 2, 2),
        f"{at}.output_upscaling.0.bias": (CHANNELS // 4,),
        f"{at}.output_upscaling.3.weight": (CHANNELS // 4, CHANNELS // 8, 2, 2),
        f"{at}.output_upscaling.3.bias": (CHANNELS // 8,),
        **_norm(f"{at}.output_upscaling.1", CHANNELS // 4),
        **_norm(f"{at}.transformer.norm_final_attn", CHANNELS),
        **_attention(f"{at}.transformer.final_attn_token_to_image", CHANNELS // 2),
    }
    for level, share in ((0, 8), (1, 4)):
        shapes[f"{at}.conv_s{level}.weight"] = (CHANNELS // share, CHANNELS, 1, 1)
        shapes[f"{at}.conv_s{level}.bias"] = (CHANNELS // share,)
    for layer in range(2):
        name = f"{at}.transformer.layers.{layer}"
        shapes |= _attention(f"{name}.self_attn", CHANNELS)
        shapes |= _attention(f"{name}.cross_attn_token_to_image", CHANNELS // 2)
        shapes |= _attention(f"{name}.cross_attn_image_to_token", CHANNELS // 2)
        shapes |= _linear(f"{name}.mlp.layers.0", MLP, CHANNELS)
        shapes |= _linear(f"{name}.mlp.layers.1", CHANNELS, MLP)
        for part in range(1, 5):
            shapes |= _norm(f"{name}.norm{part}", CHANNELS)
    heads = {f"output_hypernetworks_mlps.{index}": CHANNELS // 8 for index in range(4)}
    for name, out in (heads | {"iou_prediction_head": 4, "pred_obj_score_head": 1}).items():
        for layer, width in enumerate((CHANNELS, CHANNELS, out)):
            shapes |= _linear(f"{at}.{name}.layers.{layer}", width, CHANNELS)
    return shapes


def published_config(template: str) -> dict[str, Any]:
    """What shapes do not tell, as Sa2VA's config.json has it."""
    return {
        "model_type": "sa2va_chat",
        "template": template,
        "ps_version": "v2",
        "downsample_ratio": 0.5,
        "select_layer": -1,
        "force_image_size": TILE,
        "llm_config": {
            "architectures": ["Qwen2ForCausalLM"],
            "hidden_size": WIDTH,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KEY_HEADS,
            "rms_norm_eps": 1e-6,
            "rope_theta": ROPE_BASE,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": False,
        },
        "vision_config": {
            "hidden_size": VISION_WIDTH,
            "num_attention_heads": VISION_HEADS,
            "image_size": TILE,
            "patch_size": PATCH,
            "layer_norm_eps": 1e-6,
            "norm_type": "layer_norm",
            "hidden_act": "gelu",
        },
    }


def write_published(folder: Path, template: str, *, seed: int = 0) -> dict[str, Tensor]:
    """Write `checkpoint/`; returns its tensors."""
    generator = torch.Generator().manual_seed(seed)
    tokenizer = published_tokenizer()
    tensors = {}
    for name, shape in published_shapes(len(tokenizer)).items():
        tensor = torch.randn(shape, generator=generator)
        is_scale = len(shape) == 1 and name.endswith(("weight", "ls1", "ls2"))
        tensors[name] = 1 + 0.1 * tensor if is_scale else 0.2 * tensor
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(parents=True)
    names = sorted(tensors)
    for shard, part in enumerate((names[::2], names[1::2])):
        save_file({name: tensors[name] for name in part}, checkpoint / f"model-{shard}.safetensors")
    tokenizer.save_pretrained(checkpoint)
    (checkpoint / "config.json").write_text(json.dumps(published_config(template)))
    return tensors


def plain_model(folder: Path, template: str, tensors: dict[str, Tensor]) -> PlainSa2va:
    """The published arithmetic over the same weights."""
    return PlainSa2va(
        template=template,
        weights=tensors,
        tokenizer=PreTrainedTokenizerFast.from_pretrained(folder / "checkpoint"),
        tile=TILE,
        patch=PATCH,
        vision_heads=VISION_HEADS,
        heads=HEADS,
        key_heads=KEY_HEADS,
        rope_base=ROPE_BASE,
        sam_size=FACTS.image_size,
        hiera=Hiera(
            heads=FACTS.heads,
            windows=FACTS.windows,
            global_blocks=FACTS.global_blocks,
            decoder_heads=DECODER_HEADS,
        ),
    )


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear(name: str, out: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (out, inputs), f"{name}.bias": (out,)}


def _attention(name: str, inner: int) -> Shapes:
    shapes = _linear(f"{name}.out_proj", CHANNELS, inner)
    for part in "qkv":
        shapes |= _linear(f"{name}.{part}_proj", inner, CHANNELS)
    return shapes
