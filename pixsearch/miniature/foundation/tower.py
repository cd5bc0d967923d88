"""Pre-trains the vision tower: a stock CLIP vision transformer that knows the drawing style.

Dense labels teach the patches what they show and where they are; a contrastive loss teaches the
projected class token to tell entities apart by photo, by the crop of a region query and, weakly, by
a scene that they stand in.
"""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from pixsearch.miniature.appearance import KINDS
from pixsearch.miniature.foundation.augmentation import augment
from pixsearch.miniature.foundation.bank import ATTRIBUTES, MOST_MEMBERS, EntityBank, SceneBank
from pixsearch.miniature.foundation.loop import StepLosses, pretrain
from pixsearch.miniature.vocabulary import LABEL_WORDS
from pixsearch.precision import fast_products

PATCH = 16  # pixels of a patch's side
NOTHING = -100  # class of a patch to which an attribute does not apply
_COVERED = 0.12  # of a patch's area, from which on it counts as showing the thing
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
        patch_size=PATCH,
        hidden_act="gelu",
        attn_implementation="eager",  # for 65 tokens of 32 dimensions the fastest on a CPU
    )


class TowerWithHeads(nn.Module):
    """The tower and the heads that only pre-training needs."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.tower = CLIPVisionModelWithProjection(config)
        width = config.hidden_size
        sizes = {name: len(values) for name, values in ATTRIBUTES.items()}
        sizes |= {"presence": len(KINDS) + 1, "word": len(LABEL_WORDS) + 1}
        sizes |= {"label": len(LABEL_WORDS) + 1}  # of the thing that the patch shows
        # A patch has to know where it is: nothing else here asks for it, but grounding will.
        per_side = config.image_size // PATCH
        sizes |= {"row": per_side, "column": per_side}
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})
        self.whole_heads = nn.ModuleDict(
            {name: nn.Linear(config.projection_dim, len(v)) for name, v in ATTRIBUTES.items()}
        )
        self.norm = nn.LayerNorm(width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(
        self, images: Float[Tensor, "batch 3 side side"]
    ) -> tuple[Float[Tensor, "batch patches width"], Float[Tensor, "batch dimension"]]:
        """Patch states of the last layer, and projected class tokens of the whole images."""
        with fast_products(images.device):
            output = self.tower(pixel_values=normalised(images))
        return self.norm(output.last_hidden_state[:, 1:].float()), output.image_embeds.float()


def normalised(
    images: Float[Tensor, "batch 3 side side"],
) -> Float[Tensor, "batch 3 side side"]:
    """Pixels from 0 to 255 as CLIP takes them."""
    mean, deviation = (
        torch.tensor(values).view(3, 1, 1) for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
    )
    return (images / 255 - mean) / deviation


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
    random = torch.Generator().manual_seed(int(generator.integers(2**31)))
    planes = np.stack([scenes.places[chosen], scenes.words[chosen]], axis=1)
    pictures, labels = augment(
        torch.from_numpy(scenes.squares[chosen]), torch.from_numpy(planes), random
    )
    views_of_one = np.concatenate(
        [entities.photos[numbers, views[0]], entities.crops[numbers, views[1]]]
    )
    empty = torch.zeros((len(views_of_one), 1, *pictures.shape[2:]), dtype=torch.uint8)
    single, _ = augment(torch.from_numpy(views_of_one), empty, random)
    patches, vectors = module(torch.cat([pictures, single]))
    scene_vectors, photo_vectors, crop_vectors = vectors.split(
        [len(chosen), len(numbers), len(numbers)]
    )
    scale = module.log_scale.exp().clamp(max=100.0)
    targets = patch_targets(labels, torch.from_numpy(scenes.looks[chosen]))
    losses = _dense_losses(module, patches[: len(chosen)], targets)
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
    patches: Float[Tensor, "batch patches width"],
    targets: dict[str, Int[Tensor, "batch patches"]],
) -> StepLosses:
    return {
        name: functional.cross_entropy(
            module.heads[name](patches).flatten(0, 1), classes.flatten(), ignore_index=NOTHING
        )
        for name, classes in targets.items()
    }


def patch_targets(
    labels: Int[Tensor, "batch 2 side side"],
    looks: Int[Tensor, "batch most_members num_looks"],
) -> dict[str, Int[Tensor, "batch patches"]]:
    """For each head of the patches its classes, from the planes of places and words.

    A patch shows the entity that covers most of it, if that is more than `_COVERED`; else its
    attributes are NOTHING and its presence 0. Presence and word are class plus one.
    """
    numbers = torch.arange(1, MOST_MEMBERS + 1)[:, None, None]
    shares = _patch_means((labels[:, :1] == numbers).float())
    covered, winner = shares.max(1)
    shown = covered > _COVERED
    chosen = looks.gather(1, winner[..., None].expand(-1, -1, looks.shape[-1]))
    targets = {
        name: torch.where(shown, chosen[..., place], NOTHING)
        for place, name in enumerate((*ATTRIBUTES, "label"))
    }
    targets["presence"] = torch.where(shown, targets["kind"] + 1, 0)
    words = functional.max_pool2d(labels[:, 1].float(), PATCH).flatten(1).long()
    labelled = _patch_means((labels[:, 1:] > 0).float())[:, 0] > _COVERED
    targets["word"] = torch.where(labelled, words, 0)
    per_side = labels.shape[-1] // PATCH
    place = torch.arange(per_side**2).expand(len(labels), -1)
    return targets | {"row": place // per_side, "column": place % per_side}


def bank_targets(scenes: SceneBank) -> dict[str, Int[Tensor, "num_scenes num_patches"]]:
    """The classes of all patches of a bank's pictures, as they are drawn."""
    parts = []
    for chosen in np.array_split(np.arange(len(scenes.squares)), -(-len(scenes.squares) // 200)):
        planes = np.stack([scenes.places[chosen], scenes.words[chosen]], axis=1)
        targets = patch_targets(
            torch.from_numpy(planes).long(), torch.from_numpy(scenes.looks[chosen])
        )
        parts.append(targets)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _patch_means(
    planes: Float[Tensor, "batch planes side side"],
) -> Float[Tensor, "batch planes patches"]:
    return functional.avg_pool2d(planes, PATCH).flatten(2)


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


def pixels(
    images: UInt8[np.ndarray, "batch side side 3"],
) -> Float[Tensor, "batch 3 side side"]:
    """The bank's pictures as a tensor, still from 0 to 255."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


@torch.inference_mode()
def measure_tower(
    module: TowerWithHeads, scenes: SceneBank, entities: EntityBank
) -> dict[str, float]:
    """On held-out pictures: accuracy per patch attribute, recall of crops among all photos."""
    module.eval()
    patches, _ = module(pixels(scenes.squares))
    figures = {}
    for name, classes in bank_targets(scenes).items():
        applies = classes > 0 if name in ("word", "label") else classes != NOTHING
        right = module.heads[name](patches).argmax(-1) == classes
        figures[f"{name}_accuracy"] = float(right[applies].float().mean())
    photos, crops = (
        torch.cat([_unit(module(part)[1]) for part in pixels(views[:, 0]).split(64)])
        for views in (entities.photos, entities.crops)
    )
    ranks = (crops @ photos.T).argsort(-1, descending=True) == torch.arange(len(crops))[:, None]
    figures["crop_recall_at_1"] = float(ranks[:, 0].float().mean())
    figures["crop_recall_at_5"] = float(ranks[:, :5].any(-1).float().mean())
    module.train()
    return figures
