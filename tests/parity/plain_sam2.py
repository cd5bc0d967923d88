"""Meta's SAM 2 in plain arithmetic, under Meta's names. For parity; independent of transformers.

Source: sam2/modeling (backbones/hieradet.py, backbones/image_encoder.py, sam2_base.py,
sam/mask_decoder.py), which Sa2VA holds in one file, unchanged but for the language prompt.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.parity.plain_sam import Weights, linear, norm, norm_2d

TRUNK, NECK = "image_encoder.trunk", "image_encoder.neck"
DECODER, PROMPTS = "sam_mask_decoder", "sam_prompt_encoder"
BLOCK_EPS, DECODER_EPS = 1e-6, 1e-5


@dataclass(frozen=True, kw_only=True)
class Hiera:
    """What the shapes do not tell."""

    heads: int
    windows: tuple[int, ...]
    global_blocks: tuple[int, ...]
    decoder_heads: int


def encode(weights: Weights, pixels: Tensor, hiera: Hiera) -> list[Tensor]:
    """[batch, 3, size, size] -> maps of stride 4, 8 and 16, as the mask decoder takes them."""
    maps = _neck(weights, _trunk(weights, pixels, hiera))[:3]  # the coarsest is left out
    for level in (0, 1):
        name = f"{DECODER}.conv_s{level}"
        maps[level] = F.conv2d(maps[level], weights[f"{name}.weight"], weights[f"{name}.bias"])
    maps[2] = maps[2] + weights["no_mem_embed"].view(1, -1, 1, 1)
    return maps


def _trunk(weights: Weights, pixels: Tensor, hiera: Hiera) -> list[Tensor]:
    """The map at the end of each stage, [batch, height, width, channels]."""
    name = f"{TRUNK}.patch_embed.proj"
    x = F.conv2d(pixels, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=4, padding=3)
    side = x.shape[-1]
    spread = F.interpolate(weights[f"{TRUNK}.pos_embed"], size=(side, side), mode="bicubic")
    window = weights[f"{TRUNK}.pos_embed_window"]
    times = side // window.shape[-1]
    x = (x + spread + window.repeat(1, 1, times, times)).permute(0, 2, 3, 1)
    ends, stage, block = [], 0, 0
    while f"{TRUNK}.blocks.{block}.norm1.weight" in weights:
        at = f"{TRUNK}.blocks.{block}"
        pools = f"{at}.proj.weight" in weights
        # the first block of a stage still has the window of the stage before
        window_side = 0 if block in hiera.global_blocks else hiera.windows[stage]
        if pools:
            ends.append(x)
            stage += 1
        x = _block(weights, at, x, hiera.heads * 2**stage, window_side, pools=pools)
        block += 1
    return [*ends, x]


def _block(weights: Weights, at: str, x: Tensor, heads: int, window: int, *, pools: bool) -> Tensor:
    normed = norm(weights, f"{at}.norm1", x, BLOCK_EPS)
    kept = _pool(linear(weights, f"{at}.proj", normed)) if pools else x
    side = normed.shape[1]
    if window == 0:
        attended = _attention(weights, f"{at}.attn", normed, heads, pools=pools)
    else:
        windows, per_side = _cut(normed, window)
        out = _attention(weights, f"{at}.attn", windows, heads, pools=pools)
        attended = _join(out, per_side)
        side = kept.shape[1]
        attended = attended[:, :side, :side]
    x = kept + attended
    hidden = linear(weights, f"{at}.mlp.layers.0", norm(weights, f"{at}.norm2", x, BLOCK_EPS))
    return x + linear(weights, f"{at}.mlp.layers.1", F.gelu(hidden))


def _cut(x: Tensor, window: int) -> tuple[Tensor, int]:
    """Windows, padded with zeros, and their number along a side."""
    batch, side, _, channels = x.shape
    pad = -side % window
    per_side = (side + pad) // window
    padded = F.pad(x, (0, 0, 0, pad, 0, pad))
    cells = padded.reshape(batch, per_side, window, per_side, window, channels)
    return cells.transpose(2, 3).reshape(-1, window, window, channels), per_side


def _join(windows: Tensor, per_side: int) -> Tensor:
    window, channels = windows.shape[1], windows.shape[-1]
    cells = windows.reshape(-1, per_side, per_side, window, window, channels).transpose(2, 3)
    return cells.reshape(-1, per_side * window, per_side * window, channels)


def _pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def _attention(weights: Weights, name: str, x: Tensor, heads: int, *, pools: bool) -> Tensor:
    batch, side, _, _ = x.shape
    query, key, value = linear(weights, f"{name}.qkv", x).chunk(3, dim=-1)
    if pools:
        query, side = _pool(query), side // 2
    query, key, value = (
        each.flatten(1, 2).unflatten(-1, (heads, -1)).transpose(1, 2)
        for each in (query, key, value)
    )
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    out = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, side, side, -1)
    return linear(weights, f"{name}.proj", out)


def _neck(weights: Weights, maps: list[Tensor]) -> list[Tensor]:
    """Finest first. Only the coarse half is mixed from above; convolutions are coarsest first."""
    coarsest = len(maps) - 1
    out: list[Tensor] = [torch.empty(0)] * len(maps)
    for level in range(coarsest, -1, -1):
        name = f"{NECK}.convs.{coarsest - level}.conv"
        side = F.conv2d(
            maps[level].permute(0, 3, 1, 2), weights[f"{name}.weight"], weights[f"{name}.bias"]
        )
        if level == 2:
            side = side + out[3].repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
        out[level] = side
    return out


def decode(weights: Weights, maps: list[Tensor], prompts: Tensor, hiera: Hiera) -> Tensor:
    """One image's maps and its language prompts [n, channels] -> [n, low, low].

    Before the language prompt stand two points that are none; of the three masks for ambiguous
    prompts the one is taken whose overlap the decoder thinks largest.
    """
    number, channels = prompts.shape
    nothing = weights[f"{PROMPTS}.not_a_point_embed.weight"]
    tokens = torch.cat(
        [weights[f"{DECODER}.{part}.weight"] for part in ("obj_score_token", "iou_token")]
        + [weights[f"{DECODER}.mask_tokens.weight"], nothing, nothing]
    )
    points = torch.cat([tokens.expand(number, -1, -1), prompts[:, None]], dim=1)
    dense = weights[f"{PROMPTS}.no_mask_embed.weight"].view(1, channels, 1, 1)
    side = maps[2].shape[-1]
    keys = (maps[2] + dense).expand(number, -1, -1, -1).flatten(2).transpose(1, 2)
    places = _dense_positions(weights, side).expand(number, -1, -1)
    queries, keys = _two_ways(weights, points, keys, places, hiera.decoder_heads)
    upscaled = _upscale(weights, keys.transpose(1, 2).reshape(number, channels, side, side), maps)
    masks = torch.stack(
        [
            torch.einsum("nc,nchw->nhw", _head(weights, index, queries[:, 2 + index]), upscaled)
            for index in (1, 2, 3)
        ],
        dim=1,
    )
    overlaps = _mlp(weights, f"{DECODER}.iou_prediction_head", queries[:, 1])[:, 1:]
    return masks[torch.arange(number), overlaps.argmax(dim=1)]


def _dense_positions(weights: Weights, side: int) -> Tensor:
    centres = (torch.arange(side) + 0.5) / side
    grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)
    matrix = weights[f"{PROMPTS}.pe_layer.positional_encoding_gaussian_matrix"]
    phases = 2 * math.pi * ((2 * grid - 1) @ matrix)
    return torch.cat([phases.sin(), phases.cos()], dim=-1).flatten(0, 1)[None]


def _upscale(weights: Weights, x: Tensor, maps: list[Tensor]) -> Tensor:
    name = f"{DECODER}.output_upscaling"
    x = F.conv_transpose2d(x, weights[f"{name}.0.weight"], weights[f"{name}.0.bias"], stride=2)
    x = F.gelu(norm_2d(weights, f"{name}.1", x + maps[1]))
    x = F.conv_transpose2d(x, weights[f"{name}.3.weight"], weights[f"{name}.3.bias"], stride=2)
    return F.gelu(x + maps[0])


def _head(weights: Weights, index: int, token: Tensor) -> Tensor:
    return _mlp(weights, f"{DECODER}.output_hypernetworks_mlps.{index}", token)


def _mlp(weights: Weights, name: str, x: Tensor) -> Tensor:
    for layer in range(3):
        x = linear(weights, f"{name}.layers.{layer}", x)
        x = x.relu() if layer < 2 else x
    return x


def _two_ways(
    weights: Weights, points: Tensor, keys: Tensor, places: Tensor, heads: int
) -> tuple[Tensor, Tensor]:
    queries, layer, decoder = points, 0, f"{DECODER}.transformer"
    while f"{decoder}.layers.{layer}.norm1.weight" in weights:
        at = f"{decoder}.layers.{layer}"
        placed = queries if layer == 0 else queries + points
        found = _cross(weights, f"{at}.self_attn", placed, placed, queries, heads)
        queries = found if layer == 0 else queries + found
        queries = norm(weights, f"{at}.norm1", queries, DECODER_EPS)
        found = _cross(
            *(weights, f"{at}.cross_attn_token_to_image"),
            *(queries + points, keys + places, keys, heads),
        )
        queries = norm(weights, f"{at}.norm2", queries + found, DECODER_EPS)
        hidden = linear(weights, f"{at}.mlp.layers.0", queries).relu()
        queries = queries + linear(weights, f"{at}.mlp.layers.1", hidden)
        queries = norm(weights, f"{at}.norm3", queries, DECODER_EPS)
        found = _cross(
            *(weights, f"{at}.cross_attn_image_to_token"),
            *(keys + places, queries + points, queries, heads),
        )
        keys = norm(weights, f"{at}.norm4", keys + found, DECODER_EPS)
        layer += 1
    found = _cross(
        *(weights, f"{decoder}.final_attn_token_to_image"),
        *(queries + points, keys + places, keys, heads),
    )
    return norm(weights, f"{decoder}.norm_final_attn", queries + found, DECODER_EPS), keys


def _cross(
    weights: Weights, name: str, query: Tensor, key: Tensor, value: Tensor, heads: int
) -> Tensor:
    query, key, value = (
        linear(weights, f"{name}.{part}_proj", x).unflatten(-1, (heads, -1)).transpose(1, 2)
        for part, x in (("q", query), ("k", key), ("v", value))
    )
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    out = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
    return linear(weights, f"{name}.out_proj", out)
