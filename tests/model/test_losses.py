import math
from collections.abc import Callable
from functools import partial

import pytest
import torch

from pixsearch.config import LossOptions, MaskLoss
from pixsearch.model.losses import (
    LossCounts,
    Losses,
    dice_loss,
    focal_tversky_loss,
    language_loss,
    mask_bce,
    mask_losses,
)

TVERSKY = {"alpha": 0.7, "beta": 0.3, "gamma": 0.75}


def logits_of(probability: list[list[float]]) -> torch.Tensor:
    return torch.logit(torch.tensor([probability]))


LOGITS = logits_of([[0.9, 0.2], [0.6, 0.1]])
TARGET = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])


def test_language_loss_is_summed() -> None:
    loss = language_loss(torch.zeros(3, 5), torch.tensor([0, 1, 4]))
    assert loss.item() == pytest.approx(3 * math.log(5))
    assert language_loss(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long)).item() == 0


def test_mask_bce_by_hand() -> None:
    expected = -(math.log(0.9) + math.log(0.8) + math.log(0.4) + math.log(0.1)) / 4
    assert mask_bce(LOGITS, TARGET).item() == pytest.approx(expected, rel=1e-5)


def test_dice_by_hand() -> None:
    overlap, area = 2 * (0.9 + 0.1) / 1000, (1.8 + 2) / 1000
    expected = 1 - (overlap + 1e-6) / (area + 1e-6)
    assert dice_loss(LOGITS, TARGET).item() == pytest.approx(expected, rel=1e-4)


def test_focal_tversky_by_hand() -> None:
    both, missed, wrong = 1.0, 1.0, 0.8
    index = (both + 1e-6) / (both + 0.7 * missed + 0.3 * wrong + 1e-6)
    loss = focal_tversky_loss(LOGITS, TARGET, **TVERSKY)
    assert loss.item() == pytest.approx((1 - index) ** 0.75, rel=1e-5)


def test_a_missed_pixel_costs_more_than_a_wrong_one() -> None:
    missed = focal_tversky_loss(logits_of([[0.999, 0.001]]), torch.ones(1, 1, 2), **TVERSKY)
    half = torch.tensor([[[1.0, 0.0]]])
    wrong = focal_tversky_loss(logits_of([[0.999, 0.999]]), half, **TVERSKY)
    assert missed > wrong


@pytest.mark.parametrize("loss", [mask_bce, dice_loss, partial(focal_tversky_loss, **TVERSKY)])
def test_unknown_pixels_do_not_count(loss: Callable[..., torch.Tensor]) -> None:
    known = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    elsewhere = LOGITS + 5 * (1 - known)
    assert torch.equal(loss(LOGITS, TARGET, known), loss(elsewhere, TARGET, known))
    top = loss(LOGITS[:, :1], TARGET[:, :1])
    torch.testing.assert_close(loss(LOGITS, TARGET, known), top, atol=1e-5, rtol=0)


@pytest.mark.parametrize("loss", [mask_bce, dice_loss, partial(focal_tversky_loss, **TVERSKY)])
def test_a_half_known_pixel_counts_half(loss: Callable[..., torch.Tensor]) -> None:
    """So two of them count as one, whatever is predicted there."""
    one = loss(logits_of([[0.7, 0.2]]), torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, 2))
    known = torch.tensor([[[0.5, 0.5, 1.0, 0.0]]])
    target = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    two_halves = loss(logits_of([[0.7, 0.7, 0.2, 0.5]]), target, known)
    torch.testing.assert_close(two_halves, one)


def test_a_perfect_mask_has_a_finite_slope() -> None:
    logits = torch.full((1, 2, 2), -200.0, requires_grad=True)
    focal_tversky_loss(logits, torch.zeros(1, 2, 2), **TVERSKY).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_mask_losses_sum_over_masks() -> None:
    two = LOGITS.expand(2, 2, 2), TARGET.expand(2, 2, 2)
    options = LossOptions(overlap=MaskLoss.dice)
    bce, overlap = mask_losses(*two, None, options)
    assert bce.item() == pytest.approx(2 * mask_bce(LOGITS, TARGET).item())
    assert overlap.item() == pytest.approx(2 * dice_loss(LOGITS, TARGET).item())
    assert mask_losses(LOGITS, None, None, options) == (0, 0)
    assert mask_losses(LOGITS[:0], TARGET[:0], None, options) == (0, 0)


def test_total_divides_by_the_global_counts() -> None:
    losses = Losses(
        language=torch.tensor(6.0),
        mask_bce=torch.tensor(2.0),
        mask_overlap=torch.tensor(3.0),
        span_tagging=torch.tensor(5.0),
        teacher=torch.tensor(1.0),
        counts=LossCounts(tokens=3, masks=0, tag_weight=0.5),
    )
    options = LossOptions(
        language=1.0, mask_bce=2.0, mask_overlap=8.0, span_tagging=2.0, teacher=4.0
    )
    assert losses.total(options).item() == 6 / 3 + (4 + 24 + 4) / 1 + 10 / 0.5
    counts = LossCounts(tokens=12, masks=4, tag_weight=2.5)
    assert losses.total(options, counts).item() == 6 / 12 + (4 + 24 + 4) / 4 + 10 / 2.5
