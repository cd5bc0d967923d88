"""The losses, as pure functions. Definitions and epsilons: PLUM.py:29-127, LISA.

`weights` is the share of a pixel that is known: 0 where the annotation says "ignore" or the image
is padded. Targets are shares of what is known of a pixel, 0 to 1.
"""

from collections.abc import Sequence
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
class LossCounts:
    """What the sums of a batch are divided by.

    Attributes:
        tokens: that are supervised.
        tag_weight: sum of the weights of the tags that are scored.
    """

    tokens: int
    masks: int
    tag_weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Sums over a batch, and what to divide them by unless the counts are those of more batches.

    Attributes:
        language: cross-entropy, summed over supervised tokens.
        mask_bce: binary cross-entropy, mean over a mask's pixels, summed over masks.
        mask_overlap: dice or focal-Tversky loss, summed over masks.
        span_tagging: cross-entropy of the tags, each times the weight of its class.
        teacher: divergence of the span states from a teacher's, mean over a span, summed over
            spans, which are as many as masks.
    """

    language: Float[Tensor, ""]
    mask_bce: Float[Tensor, ""]
    mask_overlap: Float[Tensor, ""]
    span_tagging: Float[Tensor, ""]
    teacher: Float[Tensor, ""]
    counts: LossCounts

    @property
    def sums(self) -> Float[Tensor, " parts"]:
        """The parts in the order of `LOSS_PARTS`, cut off from the graph."""
        parts = [getattr(self, part) for part in LOSS_PARTS]
        return torch.stack([part.detach().float() for part in parts])

    def total(self, options: LossOptions, counts: LossCounts | None = None) -> Float[Tensor, ""]:
        """The weighted sum of means.

        Args:
            counts: of the whole global batch; this batch's own by default.
        """
        divisors = loss_divisors(counts or self.counts)
        total = self.language.new_zeros(())
        for part, divisor in zip(LOSS_PARTS, divisors, strict=True):
            total = total + getattr(options, part) * getattr(self, part) / divisor
        return total


LOSS_PARTS = ("language", "mask_bce", "mask_overlap", "span_tagging", "teacher")
"""Names of the parts, in `Losses` and of their weights in `LossOptions`."""


def loss_divisors(counts: LossCounts) -> list[float]:
    """What the sum of each of `LOSS_PARTS` is divided by."""
    masks = float(max(counts.masks, 1))
    tag_weight = counts.tag_weight if counts.tag_weight > 0 else 1.0
    return [float(max(counts.tokens, 1)), masks, masks, tag_weight, masks]


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


def tagging_loss(
    logits: Float[Tensor, "batch length num_tags"],
    tags: Int[Tensor, "batch length"],
    class_weights: Sequence[float],
) -> tuple[Float[Tensor, ""], float]:
    """Weighted cross-entropy of the tags, summed, and the sum of the weights to divide it by.

    As in PLUM.py:657-682 of rows with a span alone, at all their positions; here not at padding.

    Args:
        tags: values of `SpanTag`, negative at padding.
    """
    weight = tag_weight(tags, class_weights)
    losses = F.cross_entropy(logits.float().transpose(1, 2), tags.clamp(min=0), reduction="none")
    return (losses * weight).sum(), float(weight.sum())


def tag_weight(
    tags: Int[Tensor, "batch length"], class_weights: Sequence[float]
) -> Float[Tensor, "batch length"]:
    """How much each position counts in `tagging_loss`."""
    of_class = torch.tensor(class_weights, device=tags.device)
    has_span = (tags > 0).any(dim=1, keepdim=True)
    return of_class[tags.clamp(min=0)] * (has_span & (tags >= 0))


def teacher_loss(
    states: Float[Tensor, "num_states width"],
    teacher: Float[Tensor, "num_states width"],
    *,
    sigma: float,
) -> Float[Tensor, " num_states"]:
    """Divergence of two Gaussians of deviation sigma around the states (PLUM.py:130-138).

    The mean over the width of (difference² / (2 sigma²)), one per state.
    """
    difference = states.float() - teacher.float()
    return difference.square().mean(dim=-1) / (2 * sigma**2)


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
            f"the batch has {len(logits)} grounded phrases and {len(targets)} target "
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
