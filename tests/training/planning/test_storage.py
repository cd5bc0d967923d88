"""How frozen weights are kept, and what training refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from pixsearch.config import (
    GroundBy,
    PathOptions,
    PlanOptions,
    Precision,
    Quantization,
    RunOptions,
    StageOptions,
    TrainablePart,
)
from pixsearch.model import PixSearch
from pixsearch.model.trainable import set_trainable
from pixsearch.precision import keep_frozen_in_bf16
from pixsearch.training.planning import make_plan
from pixsearch.training.planning.memory import DEEPSPEED_BUCKET
from pixsearch.training.planning.table import as_json, as_table
from tests.tiny import write_tiny_parts


@pytest.fixture
def options(tmp_path: Path) -> PlanOptions:
    model = replace(write_tiny_parts(tmp_path), precision=Precision.bf16, frozen_in_bf16=True)
    return PlanOptions(
        model=replace(model, lora_rank=4),
        stage=StageOptions(
            name="ground",
            steps=10,
            trainable=[TrainablePart.lora, TrainablePart.tokens, TrainablePart.mask_decoder],
            mixture={},
        ),
        run=RunOptions(output_dir="nowhere"),
        paths=PathOptions(outputs=str(tmp_path)),
    )


@pytest.mark.parametrize("in_bf16", [True, False])
def test_weights_take_what_those_of_the_built_model_take(
    options: PlanOptions, in_bf16: bool
) -> None:
    options.model.frozen_in_bf16 = in_bf16
    built = PixSearch.compose(options.model)
    set_trainable(built, options.stage.trainable, options.stage.trainable_tokens)
    if in_bf16:
        assert keep_frozen_in_bf16(built) > 0
    one = make_plan(options, "tiny").engines[0]
    assert one.weights == sum(each.nbytes for each in built.parameters())
    trained = sum(each.nbytes for each in built.parameters() if each.requires_grad)
    assert (one.gradients, one.optimizer) == (trained, 2 * trained)


def test_encoders_are_faster_in_bf16(options: PlanOptions) -> None:
    fast = make_plan(options, "fast")
    options.model.frozen_in_bf16 = False
    slow = make_plan(options, "slow")
    assert fast.duration.hours < slow.duration.hours
    assert 2 * fast.kept.encoding == slow.kept.encoding
    assert fast.kept.weight_copies < slow.kept.weight_copies


def test_rounding_needs_bf16(options: PlanOptions) -> None:
    options.model.precision = Precision.fp32
    with pytest.raises(ValueError, match="this run computes in fp32"):
        make_plan(options, "tiny")


def test_weights_in_4_bits(options: PlanOptions) -> None:
    """All matrices of the two layers: 4 of width 32 x 32, 3 of 32 x 64."""
    in_bf16 = make_plan(options, "bf16").engines[0].weights
    options.model.quantization = Quantization.nf4
    plan = make_plan(options, "nf4")
    quantised = 2 * (4 * 32 * 32 + 3 * 32 * 64)
    assert in_bf16 - plan.engines[0].weights == pytest.approx(quantised * (2 - 0.516), rel=0.001)
    assert [each.engine for each in plan.engines] == ["one process", "ddp", "zero2"]
    assert plan.refused.keys() == {"fsdp2", "zero3"}
    options.model.lora_rank = 0
    with pytest.raises(ValueError, match="its 4-bit weights do not train"):
        make_plan(options, "tiny")


def test_zero3_refuses_mask_feedback(options: PlanOptions) -> None:
    options.model = replace(
        options.model, ground_by=GroundBy.span, tagger_heads=2, mask_feedback=True
    )
    plan = make_plan(options, "tiny")
    [row] = [line.split() for line in as_table(plan).splitlines() if "zero3" in line]
    assert row == ["zero3", "refuses", "model.mask_feedback=true"]
    assert "zero3" not in as_json(plan)["engines"]
    assert as_json(plan)["refused"] == {"zero3": "model.mask_feedback=true"}


def test_zero3_gathers_a_number_of_weights(options: PlanOptions) -> None:
    """So few are gathered all; each of a tiny model's is split, however small."""
    options.plan.num_gpus = 4
    plan = make_plan(options, "tiny")
    one, zero3 = plan.engines[0], plan.engines[-1]
    assert zero3.weights == pytest.approx(one.weights, abs=4)
    assert zero3.gradients == one.gradients // 4 + DEEPSPEED_BUCKET
