"""FLOP of the frozen image encoders for one image. They run forward alone."""

from torch import nn
from transformers import Sam3TrackerModel

from pixsearch.model.families.family import Size
from pixsearch.model.pixsearch import PixSearch
from pixsearch.training.planning.counting import attention_flops, matrix_weights

NO_CLASS_TOKEN = "siglip_vision_model"


def tower_flops(model: PixSearch, size: Size) -> int:
    """FLOP of the vision tower for an image of this size.

    Linear in the tokens for the matrices, quadratic for the attention (ViT, Dosovitskiy et al.
    2020; windows: Qwen2.5-VL, section 2.1.1).
    """
    if model.family.has_axes:
        return _qwen_flops(model, size)
    tower, vision = model.family.encoder(model.backbone), model.config.backbone.vision_config
    side = _first(vision.image_size) // _first(vision.patch_size)
    tokens = side**2 + (vision.model_type != NO_CLASS_TOKEN)
    attention = attention_flops(queries=tokens, keys=tokens, width=vision.hidden_size)
    one = 2 * matrix_weights(tower) * tokens + vision.num_hidden_layers * attention
    return model.family.num_pieces(size) * one


def segmenter_flops(segmenter: nn.Module) -> int:
    """FLOP of the segmenter's image encoder; every image has the same size.

    Raises:
        ValueError: it is of a kind that is not counted.
    """
    encoder = segmenter.vision_encoder
    if isinstance(segmenter, Sam3TrackerModel):
        raise ValueError(
            "model.segmenter: the arithmetic of SAM 3 is not counted; plan with a SAM or a SAM 2"
        )
    if hasattr(encoder, "layers"):
        return _sam_flops(encoder)
    return _hiera_flops(encoder) + _borrowed_flops(segmenter)


def _qwen_flops(model: PixSearch, size: Size) -> int:
    tower, vision = model.family.encoder(model.backbone), model.config.backbone.vision_config
    merged = model.family.layout(size).num_tokens
    tokens = merged * vision.spatial_merge_size**2
    of_patches = matrix_weights(tower.blocks) + matrix_weights(tower.patch_embed)
    of_merged = matrix_weights(tower) - of_patches
    full = getattr(vision, "fullatt_block_indexes", range(vision.depth))  # Qwen3-VL has no windows
    attention = 0
    for layer in range(vision.depth):
        keys = tokens if layer in full else (vision.window_size // vision.patch_size) ** 2
        attention += attention_flops(
            queries=tokens, keys=min(keys, tokens), width=vision.hidden_size
        )
    return 2 * (of_patches * tokens + of_merged * merged) + attention


def _sam_flops(encoder: nn.Module) -> int:
    """SAM's ViT (Li et al. 2022, ViTDet): windows, four global layers, decomposed positions."""
    config = encoder.config
    side, width = config.image_size // config.patch_size, config.hidden_size
    flops = 2 * side**2 * (matrix_weights(encoder.patch_embed) + matrix_weights(encoder.neck))
    for layer in encoder.layers:
        window = layer.window_size or side
        padded = _round_up(side, window)
        # each query meets a table of rows and one of columns: two products of length `window`
        positions = 4 * padded**2 * window * width if config.use_rel_pos else 0
        flops += 2 * side**2 * matrix_weights(layer.mlp) + positions
        flops += 2 * padded**2 * matrix_weights(layer.attn)
        flops += attention_flops(queries=padded**2, keys=window**2, width=width)
    return flops


def _hiera_flops(encoder: nn.Module) -> int:
    """Hiera (Ryali et al. 2023): queries are pooled two by two where a stage begins."""
    trunk = encoder.backbone
    side = _first(trunk.config.image_size) // _first(trunk.config.patch_stride)
    flops = 2 * side**2 * matrix_weights(trunk.patch_embed)
    sides = []
    for index, block in enumerate(trunk.blocks):
        block_flops, side = _hiera_block(block, side)
        flops += block_flops
        if index in trunk.stage_ends:
            sides.append(side)
    convolutions = zip(encoder.neck.convs, reversed(sides), strict=True)
    return flops + sum(2 * matrix_weights(each) * at**2 for each, at in convolutions)


def _hiera_block(block: nn.Module, side: int) -> tuple[int, int]:
    """FLOP of a block, and the side of what comes out of it."""
    window = block.window_size or side
    padded = _round_up(side, window)
    pooled = _first(block.query_stride) if block.query_stride else 1
    queries = (padded // pooled) ** 2
    flops = 2 * padded**2 * matrix_weights(block.attn.qkv)
    flops += attention_flops(queries=queries, keys=window**2, width=block.dim_out)
    flops += 2 * queries * matrix_weights(block.attn.proj)
    if block.dim != block.dim_out:
        flops += 2 * side**2 * matrix_weights(block.proj)
    side //= pooled
    return flops + 2 * side**2 * matrix_weights(block.mlp), side


def _borrowed_flops(segmenter: nn.Module) -> int:
    """The mask decoder's convolutions that SAM 2's encoder uses, on its two finer maps."""
    prompts, decoder = segmenter.config.prompt_encoder_config, segmenter.mask_decoder
    side = prompts.image_size // prompts.patch_size
    finest, finer = matrix_weights(decoder.conv_s0), matrix_weights(decoder.conv_s1)
    return 2 * ((4 * side) ** 2 * finest + (2 * side) ** 2 * finer)


def _first(value: int | list[int] | tuple[int, ...]) -> int:
    """The number, or the first of equal ones."""
    return value if isinstance(value, int) else value[0]


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
