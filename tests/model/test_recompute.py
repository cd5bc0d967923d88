"""Layers that are computed again for the gradient."""

import torch

from pixsearch.config import LossOptions, TrainablePart
from pixsearch.model import PixSearch
from pixsearch.model.backbone import recompute_layers
from pixsearch.model.trainable import set_trainable
from tests.model.examples import batch
from tests.tiny import tiny_model

PARTS = [part for part in TrainablePart if part is not TrainablePart.language_model]


def gradients(model: PixSearch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.train()
    torch.manual_seed(0)  # of LoRA's dropout
    loss = model(**batch(model)).losses.total(LossOptions())
    loss.backward()
    named = model.named_parameters()
    return loss, {name: each.grad for name, each in named if each.grad is not None}


def test_losses_and_gradients_are_the_same_bits() -> None:
    plain, recomputed = (tiny_model(lora_rank=2, lora_dropout=0.3) for _ in range(2))
    recompute_layers(recomputed.backbone)
    calls = []
    for model in (plain, recomputed):
        set_trainable(model, PARTS)
    layer = recomputed.backbone.model.language_model.layers[0]
    layer.mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    loss, expected = gradients(plain)
    same_loss, found = gradients(recomputed)
    assert calls == [1, 1]
    assert torch.equal(same_loss, loss)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], each) for name, each in expected.items())


def test_nothing_is_kept_back_in_evaluation() -> None:
    model = tiny_model()
    recompute_layers(model.backbone)
    expected = tiny_model()(**batch(model)).logits
    assert torch.equal(model.eval()(**batch(model)).logits, expected)
