from collections.abc import Sequence

import pytest
import torch

from pixsearch.config import LossOptions, TrainablePart, TrainableTokens
from pixsearch.model import PixSearch
from pixsearch.model.trainable import PARTS, parameter_groups, set_trainable
from tests.model.examples import batch
from tests.tiny import tiny_model

STAGE = [part for part in TrainablePart if part is not TrainablePart.language_model]


def train(model: PixSearch, steps: int = 3) -> None:
    """AdamW with weight decay, which moves every weight that it is given."""
    model.train()
    parameters = [parameter for group in parameter_groups(model).values() for parameter in group]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1)
    inputs = batch(model)
    for _ in range(steps):
        model(**inputs).losses.total(LossOptions()).backward()
        optimizer.step()
        optimizer.zero_grad()


def changed(model: PixSearch, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, now in model.state_dict().items() if not torch.equal(now, before[name])}


def snapshot(model: PixSearch) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_new_rows_alone_move(tied: bool) -> None:
    model = tiny_model(tied=tied)
    set_trainable(model, [TrainablePart.tokens], TrainableTokens.new_rows)
    before = snapshot(model)
    train(model)
    rows = {"new_rows.embedding"} if tied else {"new_rows.embedding", "new_rows.head"}
    assert changed(model, before) == rows


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_all_rows_move_when_asked(tied: bool) -> None:
    model = tiny_model(tied=tied)
    set_trainable(model, [TrainablePart.tokens], TrainableTokens.all)
    before = snapshot(model)
    train(model)
    moved = changed(model, before)
    assert "backbone.model.language_model.embed_tokens.weight" in moved
    assert "backbone.lm_head.weight" in moved
    assert "new_rows.embedding" in moved
    assert not any("layers" in name for name in moved)


def test_whole_language_model_has_all_its_rows() -> None:
    model = tiny_model()
    report = set_trainable(model, [TrainablePart.language_model], TrainableTokens.all)
    assert set(report.parts) == {"language_model", "tokens"}
    assert model.backbone.get_input_embeddings().weight.requires_grad
    assert model.new_rows.embedding.requires_grad
    assert report.num_trainable + report.num_frozen == sum(p.numel() for p in model.parameters())
    assert f"{report.num_trainable:,} weights train" in str(report)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_moves_and_nothing_else_does(part: str) -> None:
    model = tiny_model(lora_rank=2)
    has_rows = part in (TrainablePart.language_model, TrainablePart.tokens)
    set_trainable(model, [part], TrainableTokens.all if has_rows else TrainableTokens.new_rows)
    before = snapshot(model)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    train(model, steps=2)
    tied = {"segmenter.prompt_encoder.shared_embedding.positional_embedding"}
    assert changed(model, before) == trainable - tied
    assert trainable


def test_a_weight_is_in_one_part_alone() -> None:
    model = tiny_model(lora_rank=2)
    owners = [id(parameter) for part in PARTS.values() for parameter in part(model)]
    assert len(owners) == len(set(owners))


@pytest.mark.parametrize("rows", [(0, 1, 2, 3), (1,), (2,)], ids=["all", "no_image", "no_mask"])
def test_every_weight_gets_a_gradient_whatever_the_batch(rows: Sequence[int]) -> None:
    """Otherwise processes with different batches would wait for each other forever."""
    model = tiny_model(lora_rank=2)
    set_trainable(model, STAGE)
    model.train()
    inputs = batch(model, tuple(rows))
    if (inputs["image_index"] < 0).all():
        inputs["image_features"] = None
    model(**inputs).losses.total(LossOptions()).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_every_part_that_options_can_name_is_known() -> None:
    assert set(PARTS) == set(TrainablePart)


def test_whole_language_model_with_new_rows_alone_is_refused(shared_model: PixSearch) -> None:
    with pytest.raises(ValueError, match=r"set stage\.trainable_tokens=all, or train lora"):
        set_trainable(shared_model, [TrainablePart.language_model], TrainableTokens.new_rows)


def test_part_without_weights_is_named(shared_model: PixSearch) -> None:
    with pytest.raises(ValueError, match=r"no weights for lora; set model\.lora_rank"):
        set_trainable(shared_model, [TrainablePart.lora])
    with pytest.raises(ValueError, match="neither tokens nor language_model"):
        set_trainable(shared_model, [TrainablePart.projector], TrainableTokens.all)
