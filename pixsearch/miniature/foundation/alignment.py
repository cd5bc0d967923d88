"""Aligns the projector with the language model's words, before the two learn together.

The usual first stage of a LLaVA, made short: what a patch shows is known here, so the projector is
fitted to put the words' own embeddings where it is shown.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import one_hot
from tqdm import trange
from transformers import PreTrainedTokenizerFast

from pixsearch.miniature.foundation.bank import ATTRIBUTES
from pixsearch.miniature.foundation.induction import CONSTANT, IDENTITY, IS_PATCH, PLACE
from pixsearch.miniature.foundation.tokenizer import cell_ids
from pixsearch.miniature.foundation.tower import NOTHING
from pixsearch.miniature.vocabulary import LABEL_WORDS

_SIDE = 8  # patches
_PLACE_SIZE = 2.0  # of the dimension for a row or column
_STEPS = 400
_PATCHES_PER_STEP = 8192
_LR = 2e-3
_WEIGHTS = {"kind": 1.0, "colour": 1.0, "trim": 0.4, "emblem": 0.6, "label": 0.6}
_WHITENING_FLOOR = 0.01  # of the mean variance, below which a direction counts as noise


def align_projector(
    projector: nn.Module,
    patches: Float[Tensor, "num_scenes num_patches vision_width"],
    targets: dict[str, Int[Tensor, "num_scenes num_patches"]],
    words: nn.Embedding,
    tokenizer: PreTrainedTokenizerFast,
) -> float:
    """Whiten the projector, then fit it.

    Args:
        targets: what each patch shows, see `patch_targets`.

    Returns:
        The share of the embeddings' variance that is left unexplained.
    """
    whiten_projector(projector, patches)
    wanted = _embeddings(targets, words, tokenizer).flatten(0, 1)
    seen = patches.flatten(0, 1)
    optimizer = torch.optim.AdamW(projector.parameters(), lr=_LR, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    for step in trange(_STEPS, desc="projector"):
        optimizer.param_groups[0]["lr"] = _LR * min(1, (step + 1) / 20) * (1 - step / _STEPS)
        rows = torch.randint(len(seen), (_PATCHES_PER_STEP,), generator=generator)
        loss = functional.mse_loss(projector(seen[rows]), wanted[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return float(loss.detach() / wanted.var(0).mean())


@torch.no_grad()
def whiten_projector(
    projector: nn.Module, patches: Float[Tensor, "num_scenes num_patches vision_width"]
) -> None:
    """Let the first layer take the patches to unit covariance, turned at random.

    The tower's states vary a thousand times more in some directions than in others, and what one
    wants to know of a patch lies in the small ones: a projector that is drawn as usual sees little
    of it for hundreds of steps.
    """
    states = patches.flatten(0, 1)
    mean = states.mean(0)
    covariance = (states - mean).T @ (states - mean) / len(states)
    variances, directions = torch.linalg.eigh(covariance)
    scales = (variances + _WHITENING_FLOOR * variances.mean()).rsqrt()
    first, second = projector.linear_1, projector.linear_2
    turn = torch.linalg.qr(torch.randn(len(first.weight), len(first.weight)))[0][:, : len(mean)]
    first.weight.copy_(turn @ directions @ torch.diag(scales) @ directions.T)
    first.bias.copy_(-first.weight @ mean)
    nn.init.normal_(second.weight, std=0.1 * second.weight.shape[1] ** -0.5)


@torch.no_grad()
def _embeddings(
    targets: dict[str, Int[Tensor, "num_scenes num_patches"]],
    words: nn.Embedding,
    tokenizer: PreTrainedTokenizerFast,
) -> Float[Tensor, "num_scenes num_patches width"]:
    """Embeddings of a patch's words, summed; beside them its place, and that it is a patch."""
    vocabularies = {**ATTRIBUTES, "label": ("", *LABEL_WORDS)}
    width = words.embedding_dim
    wanted = torch.zeros(*targets["row"].shape, width)
    for name, weight in _WEIGHTS.items():
        rows = _word_embeddings(vocabularies[name], words, tokenizer)
        shown = targets[name] != NOTHING
        wanted += weight * rows[targets[name].clamp(min=0)] * shown[..., None]
    wanted[..., IDENTITY.stop :] = 0
    wanted[..., PLACE] = _place_code(targets["row"], targets["column"])
    wanted[..., [CONSTANT, IS_PATCH]] = words.weight[:, CONSTANT].mean()
    return wanted


@torch.no_grad()
def name_cells(words: nn.Embedding, tokenizer: PreTrainedTokenizerFast) -> None:
    """Let the words for cells say where they are, as patches do."""
    numbers = torch.arange(_SIDE * _SIDE)
    words.weight[cell_ids(tokenizer), PLACE] = _place_code(numbers // _SIDE, numbers % _SIDE)


def _place_code(
    row: Int[Tensor, "*places"], column: Int[Tensor, "*places"]
) -> Float[Tensor, "*places dimensions"]:
    return _PLACE_SIZE * torch.cat([one_hot(row, _SIDE), one_hot(column, _SIDE)], dim=-1)


def _word_embeddings(
    vocabulary: tuple[str, ...], words: nn.Embedding, tokenizer: PreTrainedTokenizerFast
) -> Float[Tensor, "num_words width"]:
    """The mean over a word's tokens; zeros for the empty one. Countries are capitalised in text."""
    rows = []
    for word in vocabulary:
        ids = tokenizer.encode(word, add_special_tokens=False) if word else []
        rows.append(words.weight[ids].mean(0) if ids else torch.zeros(words.embedding_dim))
    return torch.stack(rows)
