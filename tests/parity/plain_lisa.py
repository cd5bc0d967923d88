"""LISA and GLaMM in plain arithmetic, under their published names. For parity.

Sources: LISA/model/LISA.py (offset of the hidden state, projection, prompt),
LISA/model/llava/mm_utils.py (prompt ids), LLaVA's llava_arch.py (where the patches go).
"""

import math
import re
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPImageProcessorPil, CLIPVisionModel, PreTrainedTokenizerFast

from tests.parity import plain_sam
from tests.parity.plain_sam import Weights, linear

IMAGE_ID = -200  # where LLaVA's prompt ids have the image
_SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the human's questions. "
)
PROMPTS = {
    "lisa": _SYSTEM + "USER: <im_start><image><im_end>\n{question} ASSISTANT:",
    "glamm": _SYSTEM + "USER: The <im_start><image><im_end> provides an overview of the picture.\n"
    "{question} ASSISTANT:",
}
PROMPTS["plum"] = PROMPTS["lisa"]
ROPE_BASE, RMS_EPS = 10000.0, 1e-5


@dataclass(frozen=True, kw_only=True)
class PlainLisa:
    """The published forward of one conversation.

    Attributes:
        weights: under published names, without peft's prefix.
    """

    kind: str
    weights: Weights
    tower: CLIPVisionModel
    processor: CLIPImageProcessorPil
    tokenizer: PreTrainedTokenizerFast
    heads: int
    decoder_heads: int
    segmenter: str  # prefix of SAM's names
    sam_size: int

    def prompt_ids(self, question: str) -> list[int]:
        """`tokenizer_image_token`: the text is cut at <image>, each piece tokenised alone.

        By transformers 4.29 to 4.31's slow tokenizer: what stands between added tokens is stripped,
        and each piece of it gets a space in front.
        """
        pieces = PROMPTS[self.kind].format(question=question).split("<image>")
        first, *others = (self._legacy_ids(piece) for piece in pieces)
        begin = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        return [*begin, *first, *(id for piece in others for id in (IMAGE_ID, *piece))]

    def _legacy_ids(self, text: str) -> list[int]:
        added = self.tokenizer.get_added_vocab()
        parts = re.split(f"({'|'.join(map(re.escape, added))})", text)
        ids: list[int] = []
        for place, part in enumerate(parts):
            if part in added:
                ids.append(added[part])
                continue
            left = part.lstrip() if place > 0 else part
            stripped = left.rstrip() if place < len(parts) - 1 else left
            ids += self.tokenizer(stripped, add_special_tokens=False).input_ids if stripped else []
        return ids

    def states(self, ids: list[int], image: Image.Image) -> tuple[Tensor, list[int]]:
        """States after the final norm, and for each place its id (IMAGE_ID for patches)."""
        pixels = self.processor(image, return_tensors="pt").pixel_values
        hidden = self.tower(pixels, output_hidden_states=True).hidden_states[-2][0, 1:]
        patches = self._project(hidden)
        embedding = self.weights["model.embed_tokens.weight"]
        rows, places = [], []
        for token in ids:
            rows.append(patches if token == IMAGE_ID else embedding[token][None])
            places += [token] * len(rows[-1])
        return self._language_model(torch.cat(rows)), places

    def logits(self, states: Tensor) -> Tensor:
        return states @ self.weights["lm_head.weight"].T

    def masks(self, states: Tensor, places: list[int], image: Image.Image) -> Tensor:
        """Low-resolution logits, one for each [SEG]: of the state BEFORE it."""
        seg = self.tokenizer.convert_tokens_to_ids("[SEG]")
        before = [index - 1 for index, token in enumerate(places) if token == seg]
        prompts = self.projected(states[before])
        return plain_sam.decode(self.sam(), self.seen(image), prompts, self.decoder_heads)

    def projected(self, states: Tensor) -> Tensor:
        hidden = linear(self.weights, "model.text_hidden_fcs.0.0", states).relu()
        return linear(self.weights, "model.text_hidden_fcs.0.2", hidden)

    def sam(self) -> Weights:
        """Its weights under Meta's names."""
        return {
            name.removeprefix(self.segmenter): tensor
            for name, tensor in self.weights.items()
            if name.startswith(self.segmenter)
        }

    def seen(self, image: Image.Image) -> Tensor:
        """What SAM's image encoder makes of an image."""
        return plain_sam.encode(self.sam(), self._sam_pixels(image)[None])

    def _project(self, hidden: Tensor) -> Tensor:
        if "model.mm_projector.weight" in self.weights:
            return linear(self.weights, "model.mm_projector", hidden)
        inner = F.gelu(linear(self.weights, "model.mm_projector.0", hidden))
        return linear(self.weights, "model.mm_projector.2", inner)

    def _sam_pixels(self, image: Image.Image) -> Tensor:
        """SAM's own: longest side to size, normalised on 0-255, zeros right and bottom."""
        scale = self.sam_size / max(image.size)
        width, height = (int(side * scale + 0.5) for side in image.size)
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        values = torch.tensor(list(resized.tobytes()), dtype=torch.float32).view(height, width, 3)
        mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
        normal = ((values - mean) / std).permute(2, 0, 1)
        return F.pad(normal, (0, self.sam_size - width, 0, self.sam_size - height))

    def _language_model(self, x: Tensor) -> Tensor:
        layer = 0
        while f"model.layers.{layer}.input_layernorm.weight" in self.weights:
            x = self._layer(x, f"model.layers.{layer}")
            layer += 1
        return self._rms(x, "model.norm")

    def _layer(self, x: Tensor, name: str) -> Tensor:
        normed = self._rms(x, f"{name}.input_layernorm")
        query, key, value = (
            (normed @ self.weights[f"{name}.self_attn.{part}_proj.weight"].T)
            .unflatten(-1, (self.heads, -1))
            .transpose(0, 1)
            for part in "qkv"
        )
        scores = _rotate(query) @ _rotate(key).transpose(-1, -2) / math.sqrt(query.shape[-1])
        future = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
        attended = scores.masked_fill(future, -torch.inf).softmax(-1) @ value
        merged = attended.transpose(0, 1).flatten(1)
        x = x + merged @ self.weights[f"{name}.self_attn.o_proj.weight"].T
        normed = self._rms(x, f"{name}.post_attention_layernorm")
        gate = F.silu(normed @ self.weights[f"{name}.mlp.gate_proj.weight"].T)
        up = normed @ self.weights[f"{name}.mlp.up_proj.weight"].T
        return x + (gate * up) @ self.weights[f"{name}.mlp.down_proj.weight"].T

    def _rms(self, x: Tensor, name: str) -> Tensor:
        return self.weights[f"{name}.weight"] * x / (x.square().mean(-1, True) + RMS_EPS).sqrt()


def _rotate(x: Tensor) -> Tensor:
    """LLaMA's rotary positions: the halves of a head are real and imaginary parts."""
    half = x.shape[-1] // 2
    speeds = ROPE_BASE ** (-torch.arange(half) / half)
    angles = torch.arange(x.shape[-2])[:, None] * speeds
    real, imaginary = x[..., :half], x[..., half:]
    turned = real * angles.cos() - imaginary * angles.sin()
    return torch.cat([turned, imaginary * angles.cos() + real * angles.sin()], dim=-1)
