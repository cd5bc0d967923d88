"""Trains the miniature's detector on the referring expressions of a world's training scenes."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from pixsearch.config import TrainDetectorOptions
from pixsearch.datasets import refcoco
from pixsearch.datasets.example import Example
from pixsearch.datasets.grammar import grounded_phrases
from pixsearch.line_store import write_json
from pixsearch.miniature.detector import (
    DESCRIPTION,
    WEIGHTS,
    FrozenParts,
    PatchScorer,
    batch_of_words,
    known_words,
    words_of,
)

logger = logging.getLogger(__name__)

HELD_OUT = 0.1  # of the images, from the last
IMAGES_PER_BATCH = 32
PHRASES_PER_STEP = 64
LEARNING_RATE = 3e-3
LEAST_COUNT = 3  # of a word, for it to be known


@dataclass(frozen=True, kw_only=True, eq=False)
class Expressions:
    """Expressions with what they name.

    Attributes:
        images: for each expression the row of its image in `states`.
        covered: for each expression the share of each patch that its mask covers.
    """

    texts: list[str]
    images: list[int]
    covered: Float[Tensor, "num_expressions num_patches"]
    states: Float[Tensor, "num_images num_patches width"]


def train_detector(options: TrainDetectorOptions) -> dict[str, float]:
    """Train, measure on held-out images and write; returns what was measured.

    Raises:
        ValueError: world or parts are not there.
    """
    parts = FrozenParts(Path(options.parts))
    examples = refcoco.load(Path(options.miniature.root) / "refcoco", "train")
    chosen = [examples[row] for row in range(min(options.num_images, len(examples)))]
    num_train = max(1, round(len(chosen) * (1 - HELD_OUT)))
    train, held_out = read(chosen[:num_train], parts), read(chosen[num_train:], parts)
    counts = Counter(word for text in train.texts for word in words_of(text))
    vocabulary = sorted(word for word, count in counts.items() if count >= LEAST_COUNT)
    torch.manual_seed(options.seed)
    scorer = PatchScorer(len(vocabulary), parts.tower.config.hidden_size)
    numbers = {word: number for number, word in enumerate(vocabulary)}
    _fit(scorer, train, numbers, options)
    measured = measure(scorer, held_out, numbers)
    folder = Path(options.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(scorer.state_dict(), folder / WEIGHTS)
    described = {"words": vocabulary, "parts": str(Path(options.parts).resolve())}
    write_json(folder / DESCRIPTION, described | {"held_out": measured})
    logger.info("%s: %s", folder, json.dumps(measured))
    return measured


def read(examples: Sequence[Example], parts: FrozenParts) -> Expressions:
    """Encode the images, and lay each mask over the patches."""
    texts, images, covered, states = [], [], [], []
    for start in tqdm(range(0, len(examples), IMAGES_PER_BATCH), desc="scenes"):
        batch = examples[start : start + IMAGES_PER_BATCH]
        states.append(parts.patch_states([one.load_image() for one in batch]))
        for row, example in enumerate(batch, start):
            for phrase, mask in zip(
                grounded_phrases(example.conversation), example.load_masks(), strict=True
            ):
                texts.append(phrase)
                images.append(row)
                covered.append(covered_patches(mask, parts.patches_per_side))
    return Expressions(
        texts=texts, images=images, covered=torch.stack(covered), states=torch.cat(states)
    )


def covered_patches(
    mask: Bool[np.ndarray, "height width"], per_side: int
) -> Float[Tensor, " num_patches"]:
    """The share of each patch that a mask covers, the image being padded to a square.

    >>> covered_patches(np.array([[1, 1], [0, 1], [0, 0], [0, 0]], dtype=bool), 2)
    tensor([0.2500, 0.5000, 0.0000, 0.0000])
    """
    height, width = mask.shape
    side = max(height, width)
    above, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side), dtype=np.float32)
    square[above : above + height, left : left + width] = mask
    return functional.adaptive_avg_pool2d(torch.from_numpy(square)[None], per_side).flatten()


@torch.inference_mode()
def measure(
    scorer: PatchScorer, expressions: Expressions, numbers: dict[str, int]
) -> dict[str, float]:
    """Share of expressions whose best patch shows what they name, and of a patch by chance."""
    scores = _scores(scorer, expressions, range(len(expressions.texts)), numbers)
    shows = expressions.covered > 0.5
    hits = shows[torch.arange(len(shows)), scores.argmax(dim=-1)].float().mean()
    return {"hits": float(hits), "chance": float(shows.float().mean()), "n": float(len(shows))}


def _fit(
    scorer: PatchScorer,
    train: Expressions,
    numbers: dict[str, int],
    options: TrainDetectorOptions,
) -> None:
    """The patches of what an expression names are to score higher than all others."""
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    generator = np.random.default_rng(options.seed)
    scorer.train()
    for _ in tqdm(range(options.steps), desc="detector"):
        rows = generator.integers(len(train.texts), size=PHRASES_PER_STEP).tolist()
        covered = train.covered[rows]
        targets = covered / covered.sum(dim=-1, keepdim=True).clamp(min=1e-6)
        loss = functional.cross_entropy(_scores(scorer, train, rows, numbers), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scorer.eval()


def _scores(
    scorer: PatchScorer, expressions: Expressions, rows: Sequence[int], numbers: dict[str, int]
) -> Float[Tensor, "num_rows num_patches"]:
    words = [known_words(expressions.texts[row], numbers) for row in rows]
    states = expressions.states[[expressions.images[row] for row in rows]]
    return scorer(states, *batch_of_words(words))
