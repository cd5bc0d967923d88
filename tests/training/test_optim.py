import itertools

import pytest
import torch
from torch import nn

from pixsearch.config import Decay, OptimOptions, TrainablePart
from pixsearch.training.optim import build_optimizer, lr_factor, set_learning_rate


@pytest.mark.parametrize("decay", list(Decay))
def test_schedule_rises_to_one_and_ends_near_its_floor(decay: Decay) -> None:
    options = OptimOptions(warmup_steps=10, decay=decay, final_lr_ratio=0.1)
    factors = [lr_factor(step, options=options, num_steps=1000) for step in range(1000)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1.0
    assert all(before >= after for before, after in itertools.pairwise(factors[10:]))
    assert factors[-1] == pytest.approx(1.0 if decay is Decay.constant else 0.1, abs=2e-3)


def test_schedule_without_warmup_starts_at_full_rate() -> None:
    options = OptimOptions(warmup_steps=0)
    assert lr_factor(0, options=options, num_steps=5) == 1.0


def test_parts_have_their_own_learning_rates() -> None:
    parts = {
        name: [nn.Parameter(torch.ones(2))]
        for name in (TrainablePart.projector, TrainablePart.mask_decoder)
    }
    optimizer = build_optimizer(
        parts, OptimOptions(lr=0.5, lr_scale={TrainablePart.mask_decoder: 0.1})
    )
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.025]


def test_scale_of_a_part_that_does_not_train_is_refused() -> None:
    parts = {TrainablePart.projector: [nn.Parameter(torch.ones(2))]}
    with pytest.raises(ValueError, match="lr_scale names lora, which does not train"):
        build_optimizer(parts, OptimOptions(lr_scale={TrainablePart.lora: 2.0}))
