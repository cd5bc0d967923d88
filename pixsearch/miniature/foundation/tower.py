"""Pre-trains the vision tower: a stock CLIP vision transformer that knows the drawing style.

Dense labels teach the patches what they show and where they are; a contrastive loss teaches the
projected class token to tell entities apart by photo, by the crop of a region query and, weakly, by
a scene that they stand in.
"""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from pixsearch.miniature.appearance import KINDS
from pixsearch.miniature.foundation.bank import (
    ATTRIBUTES,
    NOTHING,
    PATCHES_PER_SIDE,
    EntityBank,
    SceneBank,
)
from pixsearch.miniature.foundation.loop import StepLosses, pretrain
from pixsearch.miniature.vocabulary import LABEL_WORDS

_SCENES_PER_STEP = 64
_ENTITIES_PER_STEP = 32
_SCENE_WEIGHT = 0.2  # a cluttered scene should match its entities' photos only weakly


def tower_config() -> CLIPVisionConfig:
    """128 pixels, patches of 16: 64 patch tokens."""
    return CLIPVisionConfig(
        hidden_size=160,
        intermediate_size=640,
        projection_dim=128,
        num_hidden_layers=5,
        num_attention_heads=5,
        image_size=128,
        patch_size=16,
        hidden_act="gelu",
    )


class TowerWithHeads(nn.Module):
    """The tower and the heads that only pre-training needs."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.tower = CLIPVisionModelWithProjection(config)
        width = config.hidden_size
        sizes = {name: len(values) for name, values in ATTRIBUTES.items()}
        sizes |= {"presence": len(KINDS) + 1, "word": len(LABEL_WORDS) + 1}
        # A patch has to know where it is: nothing else here asks for it, but grounding will.
        sizes |= {"row": PATCHES_PER_SIDE, "column": PATCHES_PER_SIDE}
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})
        self.whole_heads = nn.ModuleDict(
            {name: nn.Linear(config.projection_dim, len(v)) for name, v in ATTRIBUTES.items()}
        )
        self.norm = nn.LayerNorm(width)
        self.register_buffer("pixel_mean", torch.tensor(OPENAI_CLIP_MEAN), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(OPENAI_CLIP_STD), persistent=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(
        self, images: UInt8[Tensor, "batch side side 3"]
    ) -> tuple[Float[Tensor, "batch patches width"], Float[Tensor, "batch dimension"]]:
        """Patch states of the last layer, and projected class tokens of the whole images."""
        pixels = (images.float() / 255 - self.pixel_mean) / self.pixel_std
        output = self.tower(pixel_values=pixels.permute(0, 3, 1, 2))
        return self.norm(output.last_hidden_state[:, 1:]), output.image_embeds


def train_tower(
    scenes: SceneBank, entities: EntityBank, *, steps: int, folder: Path, seed: int
) -> TowerWithHeads:
    """Pre-train from scratch, or from where a run in `folder` stopped."""
    torch.manual_seed(seed)
    module = TowerWithHeads(tower_config())

    def losses_of_step(step: int) -> StepLosses:
        generator = np.random.default_rng([seed, 5, step])
        return _step_losses(module, scenes, entities, generator)

    pretrain(module, losses_of_step, steps=steps, lr=1e-3, folder=folder)
    return module


def _step_losses(
    module: TowerWithHeads, scenes: SceneBank, entities: EntityBank, generator: np.random.Generator
) -> StepLosses:
    chosen = generator.choice(len(scenes.squares), size=_SCENES_PER_STEP, replace=False)
    numbers = _choose_entities(scenes, entities, chosen, generator)
    views = generator.integers(entities.photos.shape[1], size=(2, len(numbers)))
    pictures = np.concatenate(
        [
            scenes.squares[chosen],
            entities.photos[numbers, views[0]],
            entities.crops[numbers, views[1]],
        ]
    )
    patches, vectors = module(torch.from_numpy(pictures))
    scene_vectors, photo_vectors, crop_vectors = vectors.split(
        [len(chosen), len(numbers), len(numbers)]
    )
    scale = module.log_scale.exp().clamp(max=100.0)
    losses = _dense_losses(module, scenes, chosen, patches[: len(chosen)])
    losses["whole"] = _whole_loss(
        module, torch.cat([photo_vectors, crop_vectors]), entities, numbers
    )
    losses["crop"] = _contrast(crop_vectors, photo_vectors, scale)
    members = torch.from_numpy(scenes.members[chosen])
    losses["scene"] = _SCENE_WEIGHT * _contrast_scenes(
        scene_vectors, photo_vectors, scale, members, torch.from_numpy(numbers)
    )
    return losses


def _choose_entities(
    scenes: SceneBank, entities: EntityBank, chosen: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Entities of the first scenes, their look-alikes, and others up to the batch's size."""
    counts = (scenes.members[chosen] >= 0).sum(1)
    some = chosen[: _ENTITIES_PER_STEP // 2]
    picked = scenes.members[some, generator.integers(counts[: len(some)])]
    twins = entities.look_alike[picked]
    others = generator.permutation(len(entities.appearances))
    ordered = np.concatenate([picked, twins[twins >= 0], others])
    _, first = np.unique(ordered, return_index=True)
    return ordered[np.sort(first)][:_ENTITIES_PER_STEP]


def _dense_losses(
    module: TowerWithHeads,
    scenes: SceneBank,
    chosen: np.ndarray,
    patches: Float[Tensor, "batch patches width"],
) -> StepLosses:
    targets = {name: labels[chosen] for name, labels in _dense_targets(scenes).items()}
    return {
        name: functional.cross_entropy(
            module.heads[name](patches).flatten(0, 1),
            torch.from_numpy(labels).flatten(),
            ignore_index=NOTHING,
        )
        for name, labels in targets.items()
    }


def _dense_targets(scenes: SceneBank) -> dict[str, Int64[np.ndarray, "num_scenes num_patches"]]:
    """For each head of the patches its classes."""
    shape = scenes.words.shape
    rows, columns = np.divmod(np.arange(shape[1]), PATCHES_PER_SIDE)
    return dict(scenes.attributes) | {
        "presence": scenes.kinds_or_empty,
        "word": scenes.words,
        "row": np.broadcast_to(rows, shape).copy(),
        "column": np.broadcast_to(columns, shape).copy(),
    }


def _whole_loss(
    module: TowerWithHeads,
    vectors: Float[Tensor, "num_views dimension"],
    entities: EntityBank,
    numbers: np.ndarray,
) -> Float[Tensor, ""]:
    """Attributes of the one entity of a photo or crop, from its class token."""
    looks = [entities.appearances[number] for number in numbers]
    losses = []
    for name, values in ATTRIBUTES.items():
        classes = torch.tensor([values.index(getattr(look, name)) for look in looks]).repeat(2)
        losses.append(functional.cross_entropy(module.whole_heads[name](vectors), classes))
    return torch.stack(losses).mean()


def _unit(vectors: Float[Tensor, "batch dimension"]) -> Float[Tensor, "batch dimension"]:
    return functional.normalize(vectors, dim=-1)


def _contrast(
    left: Float[Tensor, "batch dimension"], right: Float[Tensor, "batch dimension"], scale: Tensor
) -> Float[Tensor, ""]:
    similarity = scale * _unit(left) @ _unit(right).T
    target = torch.arange(len(left))
    return (
        functional.cross_entropy(similarity, target)
        + functional.cross_entropy(similarity.T, target)
    ) / 2


def _contrast_scenes(
    scene_vectors: Float[Tensor, "num_scenes dimension"],
    photo_vectors: Float[Tensor, "num_photos dimension"],
    scale: Tensor,
    members: Int[Tensor, "num_scenes most_members"],
    numbers: Int[Tensor, " num_photos"],
) -> Float[Tensor, ""]:
    """Cross-entropy of each scene against all photos, any of its own entities being right."""
    log_shares = (scale * _unit(scene_vectors) @ _unit(photo_vectors).T).log_softmax(-1)
    right = (members[:, :, None] == numbers).any(1)
    shown = right.any(-1)  # scenes of which an entity is in the batch
    return -log_shares[shown].masked_fill(~right[shown], -torch.inf).logsumexp(-1).mean()


@torch.inference_mode()
def measure_tower(
    module: TowerWithHeads, scenes: SceneBank, entities: EntityBank
) -> dict[str, float]:
    """On held-out pictures: accuracy per patch attribute, recall of crops among all photos."""
    module.eval()
    patches, _ = module(torch.from_numpy(scenes.squares))
    figures = {}
    for name, labels in _dense_targets(scenes).items():
        guess = module.heads[name](patches).argmax(-1).numpy()
        applies = labels > 0 if name == "word" else labels != NOTHING
        figures[f"{name}_accuracy"] = float((guess == labels)[applies].mean())
    photos, crops = (
        torch.cat([_unit(module(part)[1]) for part in torch.from_numpy(views[:, 0]).split(64)])
        for views in (entities.photos, entities.crops)
    )
    ranks = (crops @ photos.T).argsort(-1, descending=True) == torch.arange(len(crops))[:, None]
    figures["crop_recall_at_1"] = float(ranks[:, 0].float().mean())
    figures["crop_recall_at_5"] = float(ranks[:, :5].any(-1).float().mean())
    module.train()
    return figures
