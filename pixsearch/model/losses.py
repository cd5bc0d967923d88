"""The losses, as pure functions. Definitions and epsilons: PLUM.py:29-127, LISA.

`weights` is the share of a pixel that is known: 0 where the annotation says "ignore" or the image
is padded. Targets are shares of what is known of a pixel, 0 to 1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from pixsearch.config import LossOptions, MaskLoss

EPSILON = 1e-6
DICE_SCALE = 1000.0  # LISA divides the sums by it, so that EPSILON counts for more

MaskPlanes = Float[Tensor, "num_masks height width"]
PerMask = Float[Tensor, " num_masks"]


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Sums over a batch, and what to divide them by once the global counts are known.

    Attributes:
        language: cross-entropy, summed over supervised tokens.
        mask_bce: binary cross-entropy, mean over a mask's pixels, summed over masks.
        mask_overlap: dice or focal-Tversky loss, summed over masks.
    """

    language: Float[Tensor, ""]
    mask_bce: Float[Tensor, ""]
    mask_overlap: Float[Tensor, ""]
    num_tokens: int
    num_masks: int

    def total(
        self,
        options: LossOptions,
        *,
        num_tokens: int | None = None,
        num_masks: int | None = None,
    ) -> Float[Tensor, ""]:
        """The weighted sum of means.

        Args:
            num_tokens, num_masks: counts of the whole global batch; this batch's own by default.
        """
        tokens = max(self.num_tokens if num_tokens is None else num_tokens, 1)
        masks = max(self.num_masks if num_masks is None else num_masks, 1)
        mask_loss = options.mask_bce * self.mask_bce + options.mask_overlap * self.mask_overlap
        return options.language * self.language / tokens + mask_loss / masks


def language_loss(
    logits: Float[Tensor, "num_tokens vocabulary"], targets: Int[Tensor, " num_tokens"]
) -> Float[Tensor, ""]:
    """Cross-entropy in nats, summed over tokens."""
    return F.cross_entropy(logits.float(), targets, reduction="sum")


def mask_bce(logits: MaskPlanes, targets: MaskPlanes, weights: MaskPlanes | None = None) -> PerMask:
    """Binary cross-entropy, the mean over the known pixels of each mask."""
    loss = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    if weights is None:
        return loss.mean(dim=(1, 2))
    return (loss * weights).sum(dim=(1, 2)) / weights.sum(dim=(1, 2)).clamp(min=EPSILON)


def dice_loss(
    logits: MaskPlanes, targets: MaskPlanes, weights: MaskPlanes | None = None
) -> PerMask:
    """1 - 2 |P∩T| / (|P| + |T|), smoothed as LISA does."""
    both, predicted, wanted = _soft_counts(logits, targets, weights)
    overlap, area = 2 * both / DICE_SCALE, (predicted + wanted) / DICE_SCALE
    return 1 - (overlap + EPSILON) / (area + EPSILON)


def focal_tversky_loss(
    logits: MaskPlanes,
    targets: MaskPlanes,
    weights: MaskPlanes | None = None,
    *,
    alpha: float,
    beta: float,
    gamma: float,
) -> PerMask:
    """(1 - TP / (TP + alpha FN + beta FP)) ^ gamma, on soft counts.

    The base is kept above 0, where the slope of a power below 1 is infinite.
    """
    both, predicted, wanted = _soft_counts(logits, targets, weights)
    missed, wrong = wanted - both, predicted - both
    index = (both + EPSILON) / (both + alpha * missed + beta * wrong + EPSILON)
    return (1 - index).clamp(min=EPSILON).pow(gamma)


def overlap_loss(
    logits: MaskPlanes, targets: MaskPlanes, weights: MaskPlanes | None, options: LossOptions
) -> PerMask:
    """The overlap term that `options` chooses."""
    if options.overlap is MaskLoss.dice:
        return dice_loss(logits, targets, weights)
    return focal_tversky_loss(
        logits,
        targets,
        weights,
        alpha=options.tversky_alpha,
        beta=options.tversky_beta,
        gamma=options.tversky_gamma,
    )


def mask_losses(
    logits: MaskPlanes,
    targets: Float[Tensor, "num_targets height width"] | None,
    weights: MaskPlanes | None,
    options: LossOptions,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Binary cross-entropy and overlap term, each summed over masks; zeros without targets.

    Raises:
        ValueError: there is not one target per mask.
    """
    if targets is None:
        return logits.new_zeros(()), logits.new_zeros(())
    if len(logits) != len(targets):
        raise ValueError(
            f"the batch has {len(logits)} grounded phrases (<seg>) and {len(targets)} target "
            "masks: give one mask per phrase, in their order"
        )
    bce = mask_bce(logits, targets, weights)
    return bce.sum(), overlap_loss(logits, targets, weights, options).sum()


def _soft_counts(
    logits: MaskPlanes, targets: MaskPlanes, weights: MaskPlanes | None
) -> tuple[PerMask, PerMask, PerMask]:
    """Of the known pixels of each mask: in both, predicted, in the target."""
    probability = torch.sigmoid(logits.float())
    weighed = targets if weights is None else targets * weights
    predicted = probability if weights is None else probability * weights
    both = (probability * weighed).sum(dim=(1, 2))
    return both, predicted.sum(dim=(1, 2)), weighed.sum(dim=(1, 2))
