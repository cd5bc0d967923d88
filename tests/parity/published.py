"""Tiny random checkpoints in the published names and shapes of LISA, GLaMM and PLUM."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
)

from pixsearch.config import ConvertOptions
from pixsearch.model.published.read import PREFIX as PEFT
from tests.parity.plain_lisa import IMAGE_ID, PROMPTS, PlainLisa

WIDTH, INNER, LAYERS, HEADS = 32, 48, 2, 2
CLIP_WIDTH, CLIP_SIZE, CLIP_PATCH = 24, 32, 8
SAM_WIDTH, SAM_DEPTH, SAM_HEAD, GRID, WINDOW = (
    32,
    3,
    16,
    6,
    4,
)  # the window does not divide the grid
CHANNELS, DECODER_HEADS, SAM_SIZE = 32, 2, 16 * 6
GLOBAL_BLOCK = 1
KINDS = ("weight", "bias")
TAGGER_HEADS, TAGGER_INNER = 4, 40
QUESTION = "Where is the red cup? Please output segmentation mask."
TOKENS = {  # in the order in which the scripts add them
    "plum": ("<im_start>", "<im_end>"),
    "lisa": ("[SEG]", "<im_start>", "<im_end>"),
    "glamm": ("<im_start>", "<im_end>", "<bbox>", "<point>", "[SEG]", "<p>", "</p>"),
}
PREFIX = {
    "plum": "model.visual_model.",
    "lisa": "model.visual_model.",
    "glamm": "model.grounding_encoder.",
}


def published_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """LLaMA-like: spaces are letters, one is put in front of the whole text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    trainer = trainers.BpeTrainer(
        vocab_size=160, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator([*PROMPTS.values(), QUESTION, "Sure, it is ."], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    begin = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", fast.bos_token_id)])
    fast.backend_tokenizer.post_processor = begin
    fast.add_tokens(list(TOKENS[kind]), special_tokens=True)
    return fast


def published_shapes(kind: str, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes, as the table of the published checkpoints has them."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, WIDTH),
        "lm_head.weight": (vocabulary, WIDTH),
        "model.norm.weight": (WIDTH,),
        "model.text_hidden_fcs.0.0.weight": (WIDTH, WIDTH),
        "model.text_hidden_fcs.0.0.bias": (WIDTH,),
        "model.text_hidden_fcs.0.2.weight": (CHANNELS, WIDTH),
        "model.text_hidden_fcs.0.2.bias": (CHANNELS,),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        for part in "qkvo":
            shapes[f"{at}.self_attn.{part}_proj.weight"] = (WIDTH, WIDTH)
        for part in ("gate", "up"):
            shapes[f"{at}.mlp.{part}_proj.weight"] = (INNER, WIDTH)
        shapes[f"{at}.mlp.down_proj.weight"] = (WIDTH, INNER)
        for part in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{at}.{part}.weight"] = (WIDTH,)
        shapes[f"{at}.self_attn.rotary_emb.inv_freq"] = (WIDTH // HEADS // 2,)
    if kind == "plum":
        shapes |= _tagger_shapes() | _pooler_shapes()
    if kind != "glamm":
        shapes |= {
            "model.mm_projector.weight": (WIDTH, CLIP_WIDTH),
            "model.mm_projector.bias": (WIDTH,),
        }
    else:
        for layer, inputs in ((0, CLIP_WIDTH), (2, WIDTH)):
            shapes[f"model.mm_projector.{layer}.weight"] = (WIDTH, inputs)
            shapes[f"model.mm_projector.{layer}.bias"] = (WIDTH,)
        shapes["model.region_encoder.mlvl_fuse.0.weight"] = (3, 3)
    return shapes | {PREFIX[kind] + name: shape for name, shape in sam_shapes().items()}


def _tagger_shapes() -> dict[str, tuple[int, ...]]:
    at = "bio_encoder.encoder.layers.0"
    shapes = {f"{at}.{norm}.{kind}": (WIDTH,) for norm in ("norm1", "norm2") for kind in KINDS}
    return (
        shapes
        | {
            f"{at}.self_attn.in_proj_weight": (3 * WIDTH, WIDTH),
            f"{at}.self_attn.in_proj_bias": (3 * WIDTH,),
        }
        | _linear(f"{at}.self_attn.out_proj", WIDTH, WIDTH)
        | _linear(f"{at}.linear1", TAGGER_INNER, WIDTH)
        | _linear(f"{at}.linear2", WIDTH, TAGGER_INNER)
        | _linear("model.token_to_mask_fcs.0.0", WIDTH, WIDTH)
        | _linear("model.token_to_mask_fcs.0.2", 3, WIDTH)
    )


def _pooler_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "mask_pooler.queries": (GRID**2, 1, CHANNELS),
        "mask_pooler.attn.in_proj_weight": (3 * CHANNELS, CHANNELS),
        "mask_pooler.attn.in_proj_bias": (3 * CHANNELS,),
    }
    for block, width in enumerate((4, 16, CHANNELS)):
        name = f"mask_pooler.mask_modulator.projections.{block}"
        shapes |= _linear(name, 2 * width, CHANNELS)
    return shapes | _linear("mask_pooler.attn.out_proj", CHANNELS, CHANNELS)


def pooler_aliases() -> dict[str, str]:
    """What PLUM's pooler holds of SAM's prompt encoder: second name -> first."""
    first = f"{PREFIX['plum']}prompt_encoder."
    aliases = {
        f"mask_pooler.{name}": PREFIX["plum"] + name
        for name in sam_shapes()
        if name.startswith("prompt_encoder.")
    }
    for place, layer in (("block1.0.", 0), ("block1.0.", 1), ("block2.0.", 3), ("block2.0.", 4)):
        for kind in KINDS:
            name = f"mask_pooler.{place}{layer}.{kind}"
            aliases[name] = f"{first}mask_downscaling.{layer}.{kind}"
    for kind in KINDS:
        aliases[f"mask_pooler.final_conv.{kind}"] = f"{first}mask_downscaling.6.{kind}"
    return aliases


def sam_shapes() -> dict[str, tuple[int, ...]]:
    """Meta's names."""
    shapes: dict[str, tuple[int, ...]] = {
        "image_encoder.pos_embed": (1, GRID, GRID, SAM_WIDTH),
        "image_encoder.patch_embed.proj.weight": (SAM_WIDTH, 3, 16, 16),
        "image_encoder.patch_embed.proj.bias": (SAM_WIDTH,),
        "image_encoder.neck.0.weight": (CHANNELS, SAM_WIDTH, 1, 1),
        "image_encoder.neck.2.weight": (CHANNELS, CHANNELS, 3, 3),
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": (2, CHANNELS // 2),
        "prompt_encoder.not_a_point_embed.weight": (1, CHANNELS),
        "prompt_encoder.no_mask_embed.weight": (1, CHANNELS),
        "prompt_encoder.mask_downscaling.0.weight": (4, 1, 2, 2),
        "prompt_encoder.mask_downscaling.3.weight": (16, 4, 2, 2),
        "prompt_encoder.mask_downscaling.6.weight": (CHANNELS, 16, 1, 1),
        "mask_decoder.iou_token.weight": (1, CHANNELS),
        "mask_decoder.mask_tokens.weight": (4, CHANNELS),
        "mask_decoder.output_upscaling.0.weight": (CHANNELS, CHANNELS // 4, 2, 2),
        "mask_decoder.output_upscaling.3.weight": (CHANNELS // 4, CHANNELS // 8, 2, 2),
        "mask_decoder.output_upscaling.3.bias": (CHANNELS // 8,),
    }
    for name, width in (
        ("image_encoder.neck.1", CHANNELS),
        ("image_encoder.neck.3", CHANNELS),
        ("prompt_encoder.mask_downscaling.1", 4),
        ("prompt_encoder.mask_downscaling.4", 16),
        ("mask_decoder.output_upscaling.1", CHANNELS // 4),
        ("mask_decoder.transformer.norm_final_attn", CHANNELS),
    ):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    for name, width in (("0", 4), ("3", 16), ("6", CHANNELS)):
        shapes[f"prompt_encoder.mask_downscaling.{name}.bias"] = (width,)
    shapes["mask_decoder.output_upscaling.0.bias"] = (CHANNELS // 4,)
    for point in range(4):
        shapes[f"prompt_encoder.point_embeddings.{point}.weight"] = (1, CHANNELS)
    return shapes | _encoder_blocks() | _decoder_layers()


def _encoder_blocks() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(SAM_DEPTH):
        at, span = f"image_encoder.blocks.{block}", GRID if block == GLOBAL_BLOCK else WINDOW
        shapes |= _linear(f"{at}.attn.qkv", 3 * SAM_WIDTH, SAM_WIDTH)
        shapes |= _linear(f"{at}.attn.proj", SAM_WIDTH, SAM_WIDTH)
        shapes |= _linear(f"{at}.mlp.lin1", 2 * SAM_WIDTH, SAM_WIDTH)
        shapes |= _linear(f"{at}.mlp.lin2", SAM_WIDTH, 2 * SAM_WIDTH)
        for part in "hw":
            shapes[f"{at}.attn.rel_pos_{part}"] = (2 * span - 1, SAM_HEAD)
        for part in (1, 2):
            shapes |= {f"{at}.norm{part}.{kind}": (SAM_WIDTH,) for kind in ("weight", "bias")}
    return shapes


def _decoder_layers() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(2):
        at = f"mask_decoder.transformer.layers.{layer}"
        shapes |= _attention(f"{at}.self_attn", CHANNELS)
        shapes |= _attention(f"{at}.cross_attn_token_to_image", CHANNELS // 2)
        shapes |= _attention(f"{at}.cross_attn_image_to_token", CHANNELS // 2)
        shapes |= _linear(f"{at}.mlp.lin1", 2 * CHANNELS, CHANNELS)
        shapes |= _linear(f"{at}.mlp.lin2", CHANNELS, 2 * CHANNELS)
        for part in range(1, 5):
            shapes |= {f"{at}.norm{part}.{kind}": (CHANNELS,) for kind in ("weight", "bias")}
    shapes |= _attention("mask_decoder.transformer.final_attn_token_to_image", CHANNELS // 2)
    heads = {f"output_hypernetworks_mlps.{index}": CHANNELS // 8 for index in range(4)}
    for name, out in (heads | {"iou_prediction_head": 4}).items():
        for layer, width in enumerate((CHANNELS, CHANNELS, out)):
            shapes |= _linear(f"mask_decoder.{name}.layers.{layer}", width, CHANNELS)
    return shapes


def write_published(folder: Path, kind: str, *, seed: int = 0) -> dict[str, Tensor]:
    """Write `checkpoint/` and `clip/`; returns the tensors as a merge script would write them."""
    generator = torch.Generator().manual_seed(seed)
    tokenizer = published_tokenizer(kind)
    tensors = {}
    for name, shape in published_shapes(kind, len(tokenizer)).items():
        tensor = torch.randn(shape, generator=generator)
        is_scale = len(shape) == 1 and name.endswith("weight")
        tensors[name] = 1 + 0.1 * tensor if is_scale else 0.3 * tensor
    if kind == "plum":
        tensors |= {alias: tensors[name].clone() for alias, name in pooler_aliases().items()}
    checkpoint, clip = folder / "checkpoint", folder / "clip"
    checkpoint.mkdir(parents=True)
    names = sorted(tensors)
    for shard, part in enumerate((names[::2], names[1::2])):
        save_file({name: tensors[name] for name in part}, checkpoint / f"model-{shard}.safetensors")
    told = {
        "model_type": "llava",
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "rms_norm_eps": 1e-5,
        "mm_vision_select_layer": -2,
        "out_dim": CHANNELS,
    }
    (checkpoint / "config.json").write_text(json.dumps(told))
    tokenizer.save_pretrained(checkpoint)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=CLIP_WIDTH,
                intermediate_size=2 * CLIP_WIDTH,
                num_hidden_layers=3,
                num_attention_heads=2,
                image_size=CLIP_SIZE,
                patch_size=CLIP_PATCH,
            )
        )
    tower.save_pretrained(clip)
    CLIPImageProcessorPil(size={"shortest_edge": CLIP_SIZE}, crop_size=CLIP_SIZE).save_pretrained(
        clip
    )
    return tensors


def options(folder: Path) -> ConvertOptions:
    """To convert what `write_published` has written."""
    return ConvertOptions(
        source=str(folder / "checkpoint"),
        clip=str(folder / "clip"),
        output_dir=str(folder / "converted"),
        decoder_heads=DECODER_HEADS,
        tagger_heads=TAGGER_HEADS,
    )


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Change the tensors of a written checkpoint, in one shard."""
    files = sorted((folder / "checkpoint").glob("*.safetensors"))
    tensors = {name: tensor for file in files for name, tensor in load_file(file).items()}
    for file in files:
        file.unlink()
    changed = {name: tensor.contiguous() for name, tensor in change(tensors).items()}
    save_file(changed, folder / "checkpoint" / "model.safetensors")


def with_adapters(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """DeepSpeed's form: peft's prefix before every name, adapters beside their matrices."""
    generator = torch.Generator().manual_seed(1)
    result = {}
    for name, tensor in tensors.items():
        if re.search(r"model\.layers.+self_attn\.[qv]_proj", name):
            owner = name.removesuffix(".weight")
            down = torch.randn(2, tensor.shape[1], generator=generator)
            up = torch.randn(tensor.shape[0], 2, generator=generator)
            result[f"{PEFT}{owner}.lora_A.default.weight"] = down
            result[f"{PEFT}{owner}.lora_B.default.weight"] = up
            result[f"{PEFT}{owner}.base_layer.weight"] = tensor - 16 / 2 * up @ down
        else:
            result[PEFT + name] = tensor
    return result


def collapsed(ids: list[int], image: int) -> list[int]:
    """Placeholders -> the one -200 of LLaVA."""
    first = ids.index(image)
    return [*ids[:first], IMAGE_ID, *(token for token in ids[first:] if token != image)]


def plain_model(
    folder: Path, kind: str, tensors: dict[str, Tensor], arithmetic: type[PlainLisa] = PlainLisa
) -> PlainLisa:
    """The published arithmetic over the same weights."""
    return arithmetic(
        kind=kind,
        weights=tensors,
        tower=CLIPVisionModel.from_pretrained(folder / "clip").eval(),
        processor=CLIPImageProcessorPil.from_pretrained(folder / "clip"),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(folder / "checkpoint"),
        heads=HEADS,
        decoder_heads=DECODER_HEADS,
        segmenter=PREFIX[kind],
        sam_size=SAM_SIZE,
    )


def _linear(name: str, out: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, inputs), f"{name}.bias": (out,)}


def _attention(name: str, inner: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for part in "qkv":
        shapes |= _linear(f"{name}.{part}_proj", inner, CHANNELS)
    return shapes | _linear(f"{name}.out_proj", CHANNELS, inner)
