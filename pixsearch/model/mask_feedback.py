"""PLUM's feedback: what was masked earlier in a conversation helps to mask the next phrase."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

NUM_HEADS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class EarlierMasks:
    """For some phrases, each after as many others of its conversation, what those led to."""

    prompts: Float[Tensor, "num_phrases num_earlier channels"]
    mask_logits: Float[Tensor, "num_phrases num_earlier low low"]


class MaskFeedback(nn.Module):
    """Earlier masks -> the dense prompt of the next (mask_feedback.py of PLUM).

    Each mask goes through the segmenter's own downscaling, scaled and shifted on the way by what
    its phrase prompted (FiLM, after each of the two blocks); then each place of the grid draws from
    the earlier masks by attention, with a query that it has learned.

    Args:
        num_places: of the segmenter's grid.
        downscaled: channels after the downscaling's convolutions.
    """

    def __init__(self, *, channels: int, num_places: int, downscaled: Sequence[int]) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(num_places, 1, channels))
        self.attention = nn.MultiheadAttention(channels, NUM_HEADS, batch_first=True)
        # PLUM has a third that it never uses; so its checkpoints and counts have it
        self.films = nn.ModuleList(nn.Linear(channels, 2 * width) for width in downscaled)

    @torch.no_grad()
    def draw(self) -> None:
        """Draw the weights anew as torch draws them, which PLUM leaves at that."""
        nn.init.normal_(self.queries)
        nn.init.xavier_uniform_(self.attention.in_proj_weight)
        for layer in (self.attention.out_proj, *self.films):
            nn.Linear.reset_parameters(layer)

    def idle_parameters(self) -> list[nn.Parameter]:
        """Those that nothing hangs on."""
        return list(self.films[2].parameters())

    def forward(
        self,
        earlier: EarlierMasks,
        *,
        segmenter: PreTrainedModel,
        places: Float[Tensor, "1 channels grid grid"],
    ) -> Float[Tensor, "num_phrases channels grid grid"]:
        """The dense prompt.

        Args:
            places: the segmenter's positional encoding of its grid.
        """
        encoder = segmenter.prompt_encoder.mask_embed
        num_phrases, num_earlier = earlier.prompts.shape[:2]
        prompts = earlier.prompts.flatten(0, 1)
        maps = earlier.mask_logits.flatten(0, 1)[:, None].to(encoder.conv1.weight.dtype)
        maps = self._modulate(encoder.layer_norm1(encoder.conv1(maps)), prompts, 0)
        maps = encoder.layer_norm2(encoder.conv2(encoder.activation(maps)))
        maps = encoder.conv3(encoder.activation(self._modulate(maps, prompts, 1)))
        maps = (maps + places).unflatten(0, (num_phrases, num_earlier))
        _, _, channels, height, width = maps.shape
        keys = maps.permute(0, 3, 4, 1, 2).reshape(-1, num_earlier, channels)
        queries = self.queries.repeat(num_phrases, 1, 1).to(keys.dtype)
        drawn, _ = self.attention(queries, keys, keys, need_weights=False)
        return drawn.view(num_phrases, height, width, channels).permute(0, 3, 1, 2)

    def _modulate(
        self,
        maps: Float[Tensor, "num_masks width height_ width_"],
        prompts: Float[Tensor, "num_masks channels"],
        block: int,
    ) -> Float[Tensor, "num_masks width height_ width_"]:
        scale, shift = self.films[block](prompts)[..., None, None].chunk(2, dim=1)
        return maps * (1 + scale) + shift


def decode_in_turn(
    conversations: Sequence[int],
    prompts: Float[Tensor, "num_masks channels"],
    decode: Callable[[Sequence[int], EarlierMasks | None], Float[Tensor, "num_now low low"]],
) -> Float[Tensor, "num_masks low low"]:
    """All first phrases of their conversations in one call, then all second ones, and so on.

    Args:
        conversations: for each phrase its conversation; those of one are neighbours.
        decode: decodes the phrases at some places, given what stands before each of them.
    """
    turns = [conversations[:place].count(one) for place, one in enumerate(conversations)]
    masks: dict[int, Float[Tensor, "low low"]] = {}
    for turn in range(max(turns) + 1):
        now = [place for place, each in enumerate(turns) if each == turn]
        earlier = None
        if turn:
            before = [range(place - turn, place) for place in now]
            earlier = EarlierMasks(
                prompts=torch.stack([prompts[row.start : row.stop] for row in before]),
                mask_logits=torch.stack([torch.stack([masks[i] for i in row]) for row in before]),
            )
        masks |= zip(now, decode(now, earlier), strict=True)
    return torch.stack([masks[place] for place in range(len(turns))])
