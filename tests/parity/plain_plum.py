"""PLUM's tags, prompts and masks, by torch's own layers under their published names. For parity.

Sources: PLUM.py (`BidirectionalEncoderBlock`, `evaluate`), mask_feedback.py.
"""

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from tests.parity import plain_sam
from tests.parity.plain_lisa import PlainLisa
from tests.parity.plain_sam import Weights, linear, norm_2d

BEGIN, INSIDE = 1, 2
POOLER_HEADS = 8


class PlainPlum(PlainLisa):
    """The published forward of one conversation, one mask at a time."""

    def tag_logits(self, states: Tensor, heads: int) -> Tensor:
        """[length, 3], of the whole sequence: every position looks at every other one."""
        inner, width = self.weights["bio_encoder.encoder.layers.0.linear1.weight"].shape
        layer = nn.TransformerEncoderLayer(width, heads, dim_feedforward=inner)
        encoder = nn.TransformerEncoder(layer, num_layers=1, enable_nested_tensor=False)
        encoder.load_state_dict(_under(self.weights, "bio_encoder.encoder."))
        looked = encoder.eval()(states[:, None])[:, 0]
        hidden = linear(self.weights, "model.token_to_mask_fcs.0.0", looked).relu()
        return linear(self.weights, "model.token_to_mask_fcs.0.2", hidden)

    def spans(self, tag_logits: Tensor) -> list[list[int]]:
        """The places of each B I*; an I behind an O is none."""
        spans: list[list[int]] = []
        is_open = False
        for place, tag in enumerate(tag_logits.argmax(dim=-1).tolist()):
            if tag == BEGIN:
                spans.append([place])
                is_open = True
            elif tag == INSIDE and is_open:
                spans[-1].append(place)
            elif tag != INSIDE:
                is_open = False
        return spans

    def span_prompts(self, states: Tensor, spans: list[list[int]]) -> Tensor:
        """The mean of the PROJECTED states of the span's own places."""
        projected = self.projected(states)
        return torch.stack([projected[span].mean(dim=0) for span in spans])

    def span_masks(self, prompts: Tensor, image: Image.Image, *, feedback: bool) -> Tensor:
        """Low-resolution logits; with feedback all before a mask make its dense prompt."""
        seen, sam = self.seen(image), self.sam()
        masks: list[Tensor] = []
        for place, prompt in enumerate(prompts):
            dense = self._pooled(sam, prompts[:place], masks) if feedback and masks else None
            masks += plain_sam.decode(sam, seen, prompt[None], self.decoder_heads, dense)
        return torch.stack(masks)

    def _pooled(self, sam: Weights, prompts: Tensor, masks: list[Tensor]) -> Tensor:
        x = torch.stack(masks)[:, None]
        for block, layer in enumerate((0, 3)):
            name = f"prompt_encoder.mask_downscaling.{layer}"
            x = F.conv2d(x, sam[f"{name}.weight"], sam[f"{name}.bias"], stride=2)
            x = norm_2d(sam, f"prompt_encoder.mask_downscaling.{layer + 1}", x)
            name = f"mask_pooler.mask_modulator.projections.{block}"
            scale, shift = linear(self.weights, name, prompts)[..., None, None].chunk(2, dim=1)
            x = F.gelu(x * (scale + 1) + shift)
        name = "prompt_encoder.mask_downscaling.6"
        x = F.conv2d(x, sam[f"{name}.weight"], sam[f"{name}.bias"])
        x = x + plain_sam.dense_positions(sam, x.shape[-1])
        number, channels, height, width = x.shape
        keys = x.permute(2, 3, 0, 1).reshape(height * width, number, channels)
        attention = nn.MultiheadAttention(channels, POOLER_HEADS, batch_first=True)
        attention.load_state_dict(_under(self.weights, "mask_pooler.attn."))
        drawn, _ = attention(self.weights["mask_pooler.queries"], keys, keys)
        return drawn[:, 0].T.reshape(channels, height, width)


def _under(weights: Weights, prefix: str) -> Weights:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }
