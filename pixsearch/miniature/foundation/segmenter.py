"""Pre-trains the segmenter: a stock, tiny SAM that separates drawings by point and by box."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from transformers import SamConfig, SamModel

from pixsearch.miniature.foundation.bank import SceneBank
from pixsearch.miniature.foundation.loop import StepLosses, pretrain
from pixsearch.miniature.scenes import HEIGHT, WIDTH
from pixsearch.model.segmenters import segmenter_kind

IMAGE_SIZE = 128
_LOW_RESOLUTION = IMAGE_SIZE // 8 * 4  # the decoder's masks: four times the embedding's side
_PIXEL_MEAN = torch.tensor([123.675, 116.28, 103.53])
_PIXEL_STD = torch.tensor([58.395, 57.12, 57.375])
_SCENES_PER_STEP = 16
_PROMPTS_PER_SCENE = 3


def segmenter_config() -> SamConfig:
    """128 pixels, patches of 8: an embedding of 16 x 16, masks of 64 x 64."""
    hidden = 64
    return SamConfig(
        vision_config={
            "hidden_size": 96,
            "output_channels": hidden,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
            "mlp_dim": 384,
            "window_size": 0,
            "global_attn_indexes": [0, 1, 2, 3],
            "num_pos_feats": hidden // 2,
        },
        prompt_encoder_config={
            "hidden_size": hidden,
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
            "mask_input_channels": 8,
        },
        mask_decoder_config={
            "hidden_size": hidden,
            "mlp_dim": 256,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": hidden,
        },
    )


def build_segmenter(seed: int) -> SamModel:
    """A SAM from scratch, its positional matrix drawn as SAM itself draws it."""
    torch.manual_seed(seed)
    segmenter = SamModel(segmenter_config())
    segmenter_kind(segmenter.config).initialise(segmenter)
    return segmenter


def train_segmenter(scenes: SceneBank, *, steps: int, folder: Path, seed: int) -> SamModel:
    """Pre-train from scratch, or from where a run in `folder` stopped."""
    segmenter = build_segmenter(seed)

    def losses_of_step(step: int) -> StepLosses:
        generator = np.random.default_rng([seed, 6, step])
        chosen = generator.choice(len(scenes.wide), size=_SCENES_PER_STEP, replace=False)
        logits, targets = _segment(segmenter, scenes, chosen, generator)
        return _mask_losses(logits, targets)

    pretrain(segmenter, losses_of_step, steps=steps, lr=1.5e-3, folder=folder)
    return segmenter


@torch.inference_mode()
def measure_segmenter(segmenter: SamModel, scenes: SceneBank, seed: int) -> dict[str, float]:
    """Mean IoU of point and box prompts on held-out scenes, at the decoder's resolution."""
    segmenter.eval()
    generator = np.random.default_rng(seed)
    chosen = np.arange(len(scenes.wide))
    overlaps = []
    for start in range(0, len(chosen), _SCENES_PER_STEP):
        part = chosen[start : start + _SCENES_PER_STEP]
        logits, targets = _segment(segmenter, scenes, part, generator)
        guess, truth = logits > 0, targets > 0.5
        overlaps.append((guess & truth).sum((-1, -2)) / (guess | truth).sum((-1, -2)).clamp(min=1))
    segmenter.train()
    return {"mask_iou": float(torch.cat(overlaps).mean())}


def _segment(
    segmenter: SamModel, scenes: SceneBank, chosen: np.ndarray, generator: np.random.Generator
) -> tuple[Float[Tensor, "batch prompts low low"], Float[Tensor, "batch prompts low low"]]:
    pixels = (torch.from_numpy(scenes.wide[chosen]).float() - _PIXEL_MEAN) / _PIXEL_STD
    bottom = IMAGE_SIZE - pixels.shape[1]
    pixels = functional.pad(pixels.permute(0, 3, 1, 2), (0, 0, 0, bottom))
    instances = scenes.instances[chosen]
    masks = np.stack([_choose_masks(instance, generator) for instance in instances])
    prompts = _points(masks, generator) if generator.random() < 0.7 else _boxes(masks)
    output = segmenter(pixel_values=pixels, multimask_output=False, **prompts)
    return output.pred_masks[:, :, 0], _low_resolution(torch.from_numpy(masks).float())


def _choose_masks(instance: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    numbers = generator.integers(1, instance.max() + 1, size=_PROMPTS_PER_SCENE)
    return instance == numbers[:, None, None]


def _points(masks: np.ndarray, generator: np.random.Generator) -> dict[str, Tensor]:
    """One random point inside each mask, in the segmenter's pixels (x, y)."""
    points = np.empty((*masks.shape[:2], 1, 2), dtype=np.float32)
    for place in np.ndindex(masks.shape[:2]):
        rows, columns = np.nonzero(masks[place])
        pick = generator.integers(len(rows))
        points[place][0] = columns[pick], rows[pick]
    return {"input_points": torch.from_numpy((points + 0.5) * (IMAGE_SIZE / WIDTH))}


def _boxes(masks: np.ndarray) -> dict[str, Tensor]:
    boxes = np.empty((*masks.shape[:2], 4), dtype=np.float32)
    for place in np.ndindex(masks.shape[:2]):
        rows, columns = np.nonzero(masks[place])
        boxes[place] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return {"input_boxes": torch.from_numpy(boxes * (IMAGE_SIZE / WIDTH))}


def _low_resolution(
    masks: Float[Tensor, "batch prompts height width"],
) -> Float[Tensor, "batch prompts low low"]:
    """Share of each low-resolution cell that the mask covers; the padding below is empty."""
    square = functional.pad(masks, (0, 0, 0, WIDTH - HEIGHT))
    return functional.interpolate(
        square, size=(_LOW_RESOLUTION, _LOW_RESOLUTION), mode="bilinear", antialias=True
    )


def _mask_losses(
    logits: Float[Tensor, "batch prompts low low"], targets: Float[Tensor, "batch prompts low low"]
) -> StepLosses:
    shares = logits.sigmoid()
    overlap = (shares * targets).sum((-1, -2))
    dice = 1 - (2 * overlap + 1) / (shares.sum((-1, -2)) + targets.sum((-1, -2)) + 1)
    entropy = functional.binary_cross_entropy_with_logits(logits, targets)
    return {"bce": 10 * entropy, "dice": dice.mean()}
