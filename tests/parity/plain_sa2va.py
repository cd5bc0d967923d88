"""Sa2VA in plain arithmetic, under its published names. For parity; independent of transformers.

Sources: Sa2VA's hf/models (modeling_sa2va_chat.py: prompt, tiles, pixel shuffle, the state that
stands for [SEG]; modeling_intern_vit.py; sam2.py, templates.py), Qwen2.
"""

import math
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from tests.parity import plain_sam2
from tests.parity.plain_sam import Weights, linear, norm
from tests.parity.plain_sam2 import Hiera

INSTRUCTIONS = {
    "qwen_chat": "<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n",
    "phi3_chat": "<|user|>\n{input}<|end|>\n<|assistant|>\n",
}
CONTEXT = "<IMG_CONTEXT>"
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
VISION_EPS, RMS_EPS, PROJECTOR_EPS = 1e-6, 1e-6, 1e-5
MAX_TILES = 12
SAM_PREFIX = "grounding_encoder.sam2_model."


@dataclass(frozen=True, kw_only=True)
class PlainSa2va:
    """The published forward of one conversation.

    Attributes:
        tile: side of a tile in pixels.
    """

    template: str
    weights: Weights
    tokenizer: PreTrainedTokenizerFast
    tile: int
    patch: int
    vision_heads: int
    heads: int
    key_heads: int
    rope_base: float
    sam_size: int
    hiera: Hiera

    def prompt_ids(self, question: str, image: Image.Image) -> list[int]:
        """The whole text at once, as `predict_forward` tokenises it."""
        number = len(self.tiles(image)) * (self.tile // self.patch // 2) ** 2
        text = f"<img>{CONTEXT * number}</img>\n{question}"
        text = INSTRUCTIONS[self.template].format(input=text)
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def tiles(self, image: Image.Image) -> Tensor:
        """[tiles and thumbnail, 3, tile, tile]"""
        columns, rows = self._grid(image)
        wide = image.resize((columns * self.tile, rows * self.tile))
        boxes = [
            (x, y, x + self.tile, y + self.tile)
            for y in range(0, wide.height, self.tile)
            for x in range(0, wide.width, self.tile)
        ]
        pieces = [wide.crop(box) for box in boxes]
        if len(pieces) > 1:
            pieces.append(image.resize((self.tile, self.tile)))
        return torch.stack([_normal(piece) for piece in pieces])

    def _grid(self, image: Image.Image) -> tuple[int, int]:
        ratio, area = image.width / image.height, image.width * image.height
        sides = range(1, MAX_TILES + 1)
        grids = [(x, y) for x in sides for y in sides if x * y <= MAX_TILES]
        best, distance = (1, 1), math.inf
        for x, y in sorted(grids, key=lambda grid: grid[0] * grid[1]):
            found = abs(ratio - x / y)
            if found < distance:
                best, distance = (x, y), found
            elif found == distance and area > 0.5 * self.tile**2 * x * y:
                best = (x, y)
        return best

    def states(self, ids: list[int], image: Image.Image) -> Tensor:
        """States after the final norm."""
        x = self.weights["language_model.model.embed_tokens.weight"][ids].clone()
        is_image = torch.tensor(ids) == self.tokenizer.convert_tokens_to_ids(CONTEXT)
        x[is_image] = self._see(self.tiles(image)).flatten(0, 1)
        layer = 0
        while f"language_model.model.layers.{layer}.input_layernorm.weight" in self.weights:
            x = self._layer(x, f"language_model.model.layers.{layer}")
            layer += 1
        return self._rms(x, "language_model.model.norm")

    def logits(self, states: Tensor) -> Tensor:
        return states @ self.weights["language_model.lm_head.weight"].T

    def prompts(self, states: Tensor, ids: list[int]) -> Tensor:
        """One for each [SEG]: of the state of [SEG] ITSELF."""
        seg = self.tokenizer.convert_tokens_to_ids("[SEG]")
        places = [place for place, token in enumerate(ids) if token == seg]
        hidden = linear(self.weights, "text_hidden_fcs.0", states[places]).relu()
        return linear(self.weights, "text_hidden_fcs.2", hidden)

    def sam_pixels(self, image: Image.Image) -> Tensor:
        """Squashed into a square by Pillow's own filter."""
        return _normal(image.resize((self.sam_size, self.sam_size)))

    def masks(self, prompts: Tensor, image: Image.Image) -> Tensor:
        """Low-resolution logits."""
        sam = {
            name.removeprefix(SAM_PREFIX): tensor
            for name, tensor in self.weights.items()
            if name.startswith(SAM_PREFIX)
        }
        maps = plain_sam2.encode(sam, self.sam_pixels(image)[None], self.hiera)
        return plain_sam2.decode(sam, maps, prompts, self.hiera)

    def _see(self, tiles: Tensor) -> Tensor:
        """InternViT, four neighbours side by side, two layers."""
        name = "vision_model.embeddings.patch_embedding"
        x = F.conv2d(
            tiles, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], stride=self.patch
        )
        side = x.shape[-1]
        x = x.flatten(2).transpose(1, 2)
        first = self.weights["vision_model.embeddings.class_embedding"].expand(len(x), 1, -1)
        x = (
            torch.cat([first, x], dim=1)
            + self.weights["vision_model.embeddings.position_embedding"]
        )
        layer = 0
        while f"vision_model.encoder.layers.{layer}.ls1" in self.weights:
            x = self._vision_layer(x, f"vision_model.encoder.layers.{layer}")
            layer += 1
        x = _shuffle(x[:, 1:].unflatten(1, (side, side))).flatten(1, 2)
        x = norm(self.weights, "mlp1.0", x, PROJECTOR_EPS)
        return linear(self.weights, "mlp1.3", F.gelu(linear(self.weights, "mlp1.1", x)))

    def _vision_layer(self, x: Tensor, at: str) -> Tensor:
        normed = norm(self.weights, f"{at}.norm1", x, VISION_EPS)
        query, key, value = (
            part.unflatten(-1, (self.vision_heads, -1)).transpose(1, 2)
            for part in linear(self.weights, f"{at}.attn.qkv", normed).chunk(3, dim=-1)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        out = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        x = x + self.weights[f"{at}.ls1"] * linear(self.weights, f"{at}.attn.proj", out)
        normed = norm(self.weights, f"{at}.norm2", x, VISION_EPS)
        hidden = F.gelu(linear(self.weights, f"{at}.mlp.fc1", normed))
        return x + self.weights[f"{at}.ls2"] * linear(self.weights, f"{at}.mlp.fc2", hidden)

    def _layer(self, x: Tensor, at: str) -> Tensor:
        normed = self._rms(x, f"{at}.input_layernorm")
        query, key, value = (
            linear(self.weights, f"{at}.self_attn.{part}_proj", normed)
            .unflatten(-1, (number, -1))
            .transpose(0, 1)
            for part, number in (("q", self.heads), ("k", self.key_heads), ("v", self.key_heads))
        )
        shared = self.heads // self.key_heads
        key, value = (each.repeat_interleave(shared, dim=0) for each in (key, value))
        scores = self._rotate(query) @ self._rotate(key).transpose(-1, -2)
        future = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
        scores = (scores / math.sqrt(query.shape[-1])).masked_fill(future, -torch.inf)
        out = (scores.softmax(-1) @ value).transpose(0, 1).flatten(1)
        x = x + linear(self.weights, f"{at}.self_attn.o_proj", out)
        normed = self._rms(x, f"{at}.post_attention_layernorm")
        gate = F.silu(linear(self.weights, f"{at}.mlp.gate_proj", normed))
        up = linear(self.weights, f"{at}.mlp.up_proj", normed)
        return x + linear(self.weights, f"{at}.mlp.down_proj", gate * up)

    def _rms(self, x: Tensor, name: str) -> Tensor:
        return self.weights[f"{name}.weight"] * x / (x.square().mean(-1, True) + RMS_EPS).sqrt()

    def _rotate(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        angles = torch.arange(x.shape[-2])[:, None] * self.rope_base ** (-torch.arange(half) / half)
        real, imaginary = x[..., :half], x[..., half:]
        turned = real * angles.cos() - imaginary * angles.sin()
        return torch.cat([turned, imaginary * angles.cos() + real * angles.sin()], dim=-1)


def _normal(image: Image.Image) -> Tensor:
    values = torch.tensor(list(image.tobytes()), dtype=torch.float32)
    values = values.view(image.height, image.width, 3) / 255
    return ((values - MEAN) / STD).permute(2, 0, 1)


def _shuffle(x: Tensor) -> Tensor:
    """Squares of four places become one: above left, above right, below left, below right."""
    parts = [x[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return torch.cat(parts, dim=-1)
