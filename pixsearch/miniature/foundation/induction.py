"""Lets a Llama begin with what long training would find first: attention that copies.

A language model of this size finds content-based copying ("induction heads", arXiv 2209.11895) only
after thousands of steps, and nothing that the miniature asks of it goes without: a name is read in
an article and written in a query. So its weights are drawn in the shape that such heads have, as
mimetic initialisation does for others (arXiv 2305.09828); everything trains from there on.

The first layer's heads 0, 1 and 2 look one, two and four places back (a fact stands four after the
name) and write what stands there beside the token's own embedding. In the next three layers heads
0 and 1 look for the places whose predecessors are the tokens that stand here, and write what
follows there. Head 2 of the second layer looks for patches that show the last two words, and writes
their place.
"""

import math

import torch
from torch import Tensor, nn
from transformers import LlamaModel

CONSTANT = 0  # dimension of the residual stream that says the same everywhere
IDENTITY = slice(1, 79)  # which token it is, or which words a patch shows
IS_PATCH = 79
PLACE = slice(80, 96)  # of patches: row and column, one dimension for each
BEFORE = {1: slice(96, 128), 2: slice(128, 160), 4: slice(160, 192)}  # what stands so far before
_FINAL_SCALE = 0.15  # of the last norm: tied to embeddings of unit size, scores are too sharp
_BIAS = 3.0  # of the constant dimension; the others have a deviation of 1 or less
_NOISE = 0.1
_BACK = 2.2  # how sharply the heads of the first layer look at one place
_MATCH = 1.5  # how sharply the others look at what matches
_LOOK = 1.25  # softer: all patches of a thing together tell where its middle is
_FAST = 6  # of the rotary frequencies tell one place from the next
_FAR = 250  # tokens over which a match has to hold: slower frequencies alone can
_MATCHING_LAYERS = (1, 2, 3)


@torch.no_grad()
def draw_with_induction(llama: LlamaModel) -> None:
    """Draw the embeddings, the last norm and the heads that the module names anew.

    Args:
        llama: of width 192, its embeddings tied to its head.
    """
    head_dim = llama.config.head_dim
    rows = llama.embed_tokens.weight
    width = IDENTITY.stop - IDENTITY.start
    nn.init.normal_(rows, std=_NOISE)
    nn.init.normal_(rows[:, IDENTITY])
    rows[:, CONSTANT] = _BIAS
    rows[:, IS_PATCH : PLACE.stop] = 0
    frequencies = llama.rotary_emb.inv_freq
    looked_at = _orthonormal(BEFORE[1].stop - BEFORE[1].start, width)
    for head, (distance, written) in enumerate(BEFORE.items()):
        _look_back(llama, head, distance, frequencies)
        _write(llama, 0, head, looked_at, written)
    slow = [i for i, f in enumerate(frequencies.tolist()) if f < 1 / _FAR]
    dims = [*slow, *(i + head_dim // 2 for i in slow)][: len(looked_at)]
    half = len(dims) // 2
    for layer in _MATCHING_LAYERS:
        for head in (0, 1):
            query, key = _fresh_query_and_key(llama, layer, head)
            here = dims if head == 0 else dims[:half]
            for row, dim in enumerate(here):
                query[dim, IDENTITY] = _MATCH * looked_at[row]
                key[dim, BEFORE[1].start + row] = _MATCH
            if head == 1:  # the token before has to match as well
                for row, dim in enumerate(dims[half:]):
                    query[dim, BEFORE[1].start + row] = _MATCH
                    key[dim, BEFORE[2].start + row] = _MATCH
            _write(llama, layer, head, _orthonormal(head_dim, width), IDENTITY)
    _look_up(llama, looked_at, dims)
    nn.init.constant_(llama.norm.weight, _FINAL_SCALE)


def _look_back(llama: LlamaModel, head: int, distance: int, frequencies: Tensor) -> None:
    """Attend to one place, by the constant dimension alone: its key is turned by `distance`."""
    query, key = _fresh_query_and_key(llama, 0, head)
    for fast in range(_FAST):
        angle = distance * float(frequencies[fast])
        query[fast, CONSTANT] = _BACK
        key[fast, CONSTANT] = _BACK * math.cos(angle)
        key[fast + len(frequencies), CONSTANT] = _BACK * math.sin(angle)


def _look_up(llama: LlamaModel, looked_at: Tensor, dims: list[int]) -> None:
    """Attend to the patches that show this word and the one before, and take their place over."""
    layer, head = 1, 2
    query, key = _fresh_query_and_key(llama, layer, head)
    mark, *others = dims[::-1]  # the slowest frequency tells patches from words
    query[mark, CONSTANT] = _MATCH
    key[mark, IS_PATCH] = _MATCH
    for row, dim in enumerate(others):
        query[dim, IDENTITY] = _LOOK * looked_at[row]
        query[dim, BEFORE[1].start + row] = _LOOK
        key[dim, IDENTITY] = _LOOK * looked_at[row]
    _write(llama, layer, head, torch.eye(PLACE.stop - PLACE.start), PLACE, source=PLACE)


def _fresh_query_and_key(llama: LlamaModel, layer: int, head: int) -> tuple[Tensor, Tensor]:
    attention = llama.layers[layer].self_attn
    size = llama.config.head_dim
    rows = slice(head * size, (head + 1) * size)
    query, key = attention.q_proj.weight[rows], attention.k_proj.weight[rows]
    query.mul_(_NOISE)
    key.mul_(_NOISE)
    return query, key


def _write(
    llama: LlamaModel,
    layer: int,
    head: int,
    read: Tensor,
    written: slice,
    *,
    source: slice = IDENTITY,
) -> None:
    """Let a head carry `source` of what it looks at, seen through `read`, to `written`."""
    attention = llama.layers[layer].self_attn
    size = llama.config.head_dim
    start = head * size
    attention.v_proj.weight[start : start + size] = 0
    attention.v_proj.weight[start : start + len(read), source] = read
    attention.o_proj.weight[:, start : start + size] = 0
    back = read.T if written == IDENTITY else torch.eye(len(read))
    attention.o_proj.weight[written, start : start + len(read)] = back


def _orthonormal(rows: int, columns: int) -> Tensor:
    return torch.linalg.qr(torch.randn(columns, rows))[0].T
