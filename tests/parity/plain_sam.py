"""Meta's SAM in plain arithmetic, under Meta's names. For parity; independent of transformers.

Source: segment_anything/modeling (image_encoder.py, prompt_encoder.py, mask_decoder.py,
transformer.py), which LISA and PLUM hold unchanged but for the text prompt.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = dict[str, Tensor]
ENCODER_EPS, DECODER_EPS = 1e-6, 1e-5


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def norm(weights: Weights, name: str, x: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps)


def norm_2d(weights: Weights, name: str, x: Tensor) -> Tensor:
    return norm(weights, name, x.movedim(1, -1), ENCODER_EPS).movedim(-1, 1)


def encode(weights: Weights, pixels: Tensor) -> Tensor:
    """[batch, 3, size, size] -> [batch, channels, grid, grid]."""
    projection = weights["image_encoder.patch_embed.proj.weight"]
    x = F.conv2d(
        pixels,
        projection,
        weights["image_encoder.patch_embed.proj.bias"],
        stride=projection.shape[-1],
    ).permute(0, 2, 3, 1)
    x = x + weights["image_encoder.pos_embed"]
    depth = 0
    while f"image_encoder.blocks.{depth}.norm1.weight" in weights:
        x = _block(weights, f"image_encoder.blocks.{depth}", x)
        depth += 1
    x = F.conv2d(x.permute(0, 3, 1, 2), weights["image_encoder.neck.0.weight"])
    x = norm_2d(weights, "image_encoder.neck.1", x)
    x = F.conv2d(x, weights["image_encoder.neck.2.weight"], padding=1)
    return norm_2d(weights, "image_encoder.neck.3", x)


def _block(weights: Weights, name: str, x: Tensor) -> Tensor:
    attended = _windowed_attention(
        weights, f"{name}.attn", norm(weights, f"{name}.norm1", x, ENCODER_EPS)
    )
    x = x + attended
    hidden = F.gelu(
        linear(weights, f"{name}.mlp.lin1", norm(weights, f"{name}.norm2", x, ENCODER_EPS))
    )
    return x + linear(weights, f"{name}.mlp.lin2", hidden)


def _windowed_attention(weights: Weights, name: str, x: Tensor) -> Tensor:
    """In windows whose side the table of relative positions tells; padded with zeros."""
    batch, height, width, channels = x.shape
    side = (len(weights[f"{name}.rel_pos_h"]) + 1) // 2
    if side >= height:
        return _attention(weights, name, x)
    below, right = -height % side, -width % side
    padded = F.pad(x, (0, 0, 0, right, 0, below))
    rows, columns = padded.shape[1] // side, padded.shape[2] // side
    windows = padded.view(batch, rows, side, columns, side, channels).transpose(2, 3)
    out = _attention(weights, name, windows.reshape(-1, side, side, channels))
    whole = out.view(batch, rows, columns, side, side, channels).transpose(2, 3)
    return whole.reshape(batch, rows * side, columns * side, channels)[:, :height, :width]


def _attention(weights: Weights, name: str, x: Tensor) -> Tensor:
    batch, height, width, channels = x.shape
    head_width = weights[f"{name}.rel_pos_h"].shape[1]
    heads = channels // head_width
    qkv = linear(weights, f"{name}.qkv", x).view(batch, height * width, 3, heads, head_width)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    scores = query @ key.transpose(-1, -2) / math.sqrt(head_width)
    places = query.reshape(batch, heads, height, width, head_width)
    down = torch.arange(height)[:, None] - torch.arange(height)[None] + height - 1
    along = torch.arange(width)[:, None] - torch.arange(width)[None] + width - 1
    rows = torch.einsum("bnhwc,hkc->bnhwk", places, weights[f"{name}.rel_pos_h"][down])
    columns = torch.einsum("bnhwc,wkc->bnhwk", places, weights[f"{name}.rel_pos_w"][along])
    biases = rows[..., :, None] + columns[..., None, :]
    scores = scores + biases.reshape(batch, heads, height * width, height * width)
    out = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, height, width, channels)
    return linear(weights, f"{name}.proj", out)


def dense_positions(weights: Weights, side: int) -> Tensor:
    """[1, channels, side, side]"""
    places = (torch.arange(side) + 0.5) / side
    grid = torch.stack(torch.meshgrid(places, places, indexing="xy"), dim=-1)
    matrix = weights["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    phases = 2 * math.pi * ((2 * grid - 1) @ matrix)
    return torch.cat([phases.sin(), phases.cos()], dim=-1).permute(2, 0, 1)[None]


def decode(
    weights: Weights, image: Tensor, prompts: Tensor, heads: int, dense: Tensor | None = None
) -> Tensor:
    """One image's embedding and its text prompts [n, channels] -> [n, low, low], mask token 0.

    The dense prompt [channels, side, side] is that for "no mask" by default.
    """
    number, channels = prompts.shape
    side = image.shape[-1]
    output = torch.cat(
        [weights["mask_decoder.iou_token.weight"], weights["mask_decoder.mask_tokens.weight"]]
    )
    points = torch.cat([output.expand(number, -1, -1), prompts[:, None]], dim=1)
    if dense is None:
        dense = weights["prompt_encoder.no_mask_embed.weight"].view(channels, 1, 1)
    keys = (image + dense).expand(number, -1, -1, -1).flatten(2).transpose(1, 2)
    key_places = (
        dense_positions(weights, side).expand(number, -1, -1, -1).flatten(2).transpose(1, 2)
    )
    queries, keys = _two_ways(weights, points, keys, key_places, heads)
    upscaled = keys.transpose(1, 2).reshape(number, channels, side, side)
    name = "mask_decoder.output_upscaling"
    upscaled = F.conv_transpose2d(
        upscaled, weights[f"{name}.0.weight"], weights[f"{name}.0.bias"], stride=2
    )
    upscaled = F.gelu(norm_2d(weights, f"{name}.1", upscaled))
    upscaled = F.gelu(
        F.conv_transpose2d(
            upscaled, weights[f"{name}.3.weight"], weights[f"{name}.3.bias"], stride=2
        )
    )
    hidden = queries[:, 1]
    for layer in range(3):
        hidden = linear(weights, f"mask_decoder.output_hypernetworks_mlps.0.layers.{layer}", hidden)
        hidden = hidden.relu() if layer < 2 else hidden
    return torch.einsum("nc,nchw->nhw", hidden, upscaled)


def _two_ways(
    weights: Weights, points: Tensor, keys: Tensor, key_places: Tensor, heads: int
) -> tuple[Tensor, Tensor]:
    queries, layer = points, 0
    name = "mask_decoder.transformer.layers.{}"
    while f"{name.format(layer)}.norm1.weight" in weights:
        at = name.format(layer)
        if layer == 0:  # the first adds no positions and keeps nothing of its input
            queries = _cross(weights, f"{at}.self_attn", queries, queries, queries, heads)
        else:
            placed = queries + points
            queries = queries + _cross(weights, f"{at}.self_attn", placed, placed, queries, heads)
        queries = norm(weights, f"{at}.norm1", queries, DECODER_EPS)
        found = _cross(
            *(weights, f"{at}.cross_attn_token_to_image"),
            *(queries + points, keys + key_places, keys, heads),
        )
        queries = norm(weights, f"{at}.norm2", queries + found, DECODER_EPS)
        hidden = linear(weights, f"{at}.mlp.lin1", queries).relu()
        queries = norm(
            weights, f"{at}.norm3", queries + linear(weights, f"{at}.mlp.lin2", hidden), DECODER_EPS
        )
        found = _cross(
            *(weights, f"{at}.cross_attn_image_to_token"),
            *(keys + key_places, queries + points, queries, heads),
        )
        keys = norm(weights, f"{at}.norm4", keys + found, DECODER_EPS)
        layer += 1
    at = "mask_decoder.transformer"
    found = _cross(
        *(weights, f"{at}.final_attn_token_to_image"),
        *(queries + points, keys + key_places, keys, heads),
    )
    return norm(weights, f"{at}.norm_final_attn", queries + found, DECODER_EPS), keys


def _cross(
    weights: Weights, name: str, query: Tensor, key: Tensor, value: Tensor, heads: int
) -> Tensor:
    projected = [
        linear(weights, f"{name}.{part}_proj", x).unflatten(-1, (heads, -1)).transpose(1, 2)
        for part, x in (("q", query), ("k", key), ("v", value))
    ]
    scores = projected[0] @ projected[1].transpose(-1, -2) / math.sqrt(projected[0].shape[-1])
    out = (scores.softmax(-1) @ projected[2]).transpose(1, 2).flatten(2)
    return linear(weights, f"{name}.out_proj", out)
