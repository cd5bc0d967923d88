"""A detector of the miniature's drawings: words in, the place of what they name out.

Each known word of a phrase scores the patches of the frozen tower; where the sum is highest, a
point prompts the frozen segmenter.

    FOLDER/detector.json           its words, the place of the frozen parts, how it was measured
    FOLDER/detector.safetensors    the weights of its two layers
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection, SamModel
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
)

from pixsearch.config import ImageFit
from pixsearch.datasets.example import Masks
from pixsearch.images import SegmenterFrame, fit_square, pixels
from pixsearch.model.segmenters import segmenter_kind

DESCRIPTION, WEIGHTS = "detector.json", "detector.safetensors"
PARTS = ("tower", "segmenter")  # folders of the frozen parts
WIDTH = 128  # of the space in which words meet patches


class PatchScorer(nn.Module):
    """How well each patch shows what a phrase names: the sum over its words."""

    def __init__(self, num_words: int, tower_width: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(num_words, WIDTH, mode="sum")
        self.norm = nn.LayerNorm(tower_width)
        self.patches = nn.Linear(tower_width, WIDTH)

    def forward(
        self,
        states: Float[Tensor, "num_phrases num_patches tower_width"],
        words: Int[Tensor, " total_words"],
        starts: Int[Tensor, " num_phrases"],
    ) -> Float[Tensor, "num_phrases num_patches"]:
        """
        Args:
            states: of the image that each phrase is about.
            words: of all phrases, one phrase behind the other.
            starts: where each phrase begins in `words`.
        """
        phrases = self.words(words, starts)
        return (self.patches(self.norm(states)) @ phrases[:, :, None])[..., 0] / WIDTH**0.5


class FrozenParts:
    """The miniature's pre-trained tower and segmenter."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            ValueError: they are not there.
        """
        try:
            self.tower = CLIPVisionModelWithProjection.from_pretrained(
                folder / "tower", dtype=torch.float32
            ).eval()
            self.segmenter = SamModel.from_pretrained(
                folder / "segmenter", dtype=torch.float32
            ).eval()
        except OSError as error:
            raise ValueError(
                f"{folder}: no tower/ and segmenter/ of the miniature; they are in assets/miniature"
            ) from error
        kind, config = segmenter_kind(self.segmenter.config), self.segmenter.config
        self._frame = SegmenterFrame(
            size=kind.size(config),
            resolution=kind.resolution(config),
            keeps_ratio=kind.keeps_ratio,
            mean=tuple(IMAGENET_DEFAULT_MEAN),
            std=tuple(IMAGENET_DEFAULT_STD),
        )

    @property
    def patches_per_side(self) -> int:
        config = self.tower.config
        return config.image_size // config.patch_size

    @torch.inference_mode()
    def patch_states(
        self, images: Sequence[Image.Image]
    ) -> Float[Tensor, "num_images num_patches width"]:
        """What the tower says of each patch of the images, padded to squares."""
        size = self.tower.config.image_size
        squares = [fit_square(one, size, ImageFit.pad, mean=OPENAI_CLIP_MEAN) for one in images]
        values = torch.stack([pixels(one, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD) for one in squares])
        return self.tower(pixel_values=values).last_hidden_state[:, 1:]

    @torch.inference_mode()
    def masks_at(self, image: Image.Image, points: Sequence[tuple[float, float]]) -> Masks:
        """The segmenter's mask at each point (x, y), in the image's own pixels."""
        scale = self._frame.size / max(image.size)
        logits = self.segmenter(
            pixel_values=self._frame.pixels(image)[None],
            input_points=torch.tensor([[[point] for point in points]]) * scale,
            multimask_output=False,
        ).pred_masks[0, :, 0]
        return (self._frame.to_image(logits, height=image.height, width=image.width) > 0).numpy()


class MiniatureDetector:
    """A `PhraseGrounder`. A phrase without a word that it knows is nowhere; any other is somewhere.

    Args:
        vocabulary: the words, in the order of the scorer's rows.
    """

    def __init__(self, scorer: PatchScorer, vocabulary: Sequence[str], parts: FrozenParts) -> None:
        self._scorer = scorer.eval()
        self._numbers = {word: number for number, word in enumerate(vocabulary)}
        self._parts = parts

    @classmethod
    def open(cls, folder: str) -> "MiniatureDetector":
        """
        Raises:
            ValueError: there is none, or it is broken.
        """
        try:
            words, parts = _described(folder, "words"), FrozenParts(frozen_parts(folder))
            weights = load_file(Path(folder, WEIGHTS))
        except OSError as error:
            raise _no_detector(folder, error) from error
        scorer = PatchScorer(len(words), parts.tower.config.hidden_size)
        scorer.load_state_dict(weights)
        return cls(scorer, words, parts)

    def masks(self, image: Image.Image, phrases: Sequence[str]) -> Masks:
        """One mask per phrase in the image's own pixels."""
        image = image.convert("RGB")
        masks = np.zeros((len(phrases), image.height, image.width), dtype=bool)
        known = [known_words(phrase, self._numbers) for phrase in phrases]
        places = [place for place, words in enumerate(known) if words]
        if places:
            points = self.points(image, [known[place] for place in places])
            masks[places] = self._parts.masks_at(image, points)
        return masks

    @torch.inference_mode()
    def points(
        self, image: Image.Image, phrases: Sequence[Sequence[int]]
    ) -> list[tuple[float, float]]:
        """For each phrase, as numbers of words, the middle of the patch that fits best: (x, y)."""
        states = self._parts.patch_states([image]).expand(len(phrases), -1, -1)
        best = self._scorer(states, *batch_of_words(phrases)).argmax(dim=-1).tolist()
        return [self._middle(patch, image) for patch in best]

    def _middle(self, patch: int, image: Image.Image) -> tuple[float, float]:
        """Of a patch, in the image's own pixels; inside the image where the patch is padding."""
        per_side, side = self._parts.patches_per_side, max(image.size)
        row, column = divmod(patch, per_side)
        x = (column + 0.5) * side / per_side - (side - image.width) // 2
        y = (row + 0.5) * side / per_side - (side - image.height) // 2
        return min(max(x, 0.0), image.width - 1.0), min(max(y, 0.0), image.height - 1.0)


def frozen_parts(folder: str) -> Path:
    """Where the frozen parts of a detector are.

    Raises:
        ValueError: there is no detector, or it is broken.
    """
    return Path(_described(folder, "parts"))


def _described(folder: str, field: str) -> Any:
    try:
        return json.loads(Path(folder, DESCRIPTION).read_text(encoding="utf-8"))[field]
    except (OSError, KeyError, ValueError) as error:
        raise _no_detector(folder, error) from error


def _no_detector(folder: str, error: Exception) -> ValueError:
    return ValueError(
        f"policy.detector.folder={folder}: no detector ({error}); "
        "scripts/train_detector.py makes one"
    )


def words_of(phrase: str) -> list[str]:
    """
    >>> words_of("Who made the red boat?")
    ['who', 'made', 'the', 'red', 'boat']
    """
    return re.findall(r"[a-z]+", phrase.lower())


def known_words(phrase: str, numbers: dict[str, int]) -> list[int]:
    """Numbers of the words that are known, in their order."""
    return [numbers[word] for word in words_of(phrase) if word in numbers]


def batch_of_words(
    phrases: Sequence[Sequence[int]],
) -> tuple[Int[Tensor, " total_words"], Int[Tensor, " num_phrases"]]:
    """The words of all phrases, and where each phrase begins."""
    lengths = [len(phrase) for phrase in phrases]
    starts = np.cumsum([0, *lengths[:-1]])
    return torch.tensor([word for phrase in phrases for word in phrase]), torch.from_numpy(starts)
