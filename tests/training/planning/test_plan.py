"""Memory, time and what a plan prints."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pixsearch.config import (
    GroundBy,
    PathOptions,
    PlanAssumptions,
    PlanOptions,
    Precision,
    RunOptions,
    StageOptions,
    TrainablePart,
    TrainableTokens,
)
from pixsearch.model.trainable import set_trainable
from pixsearch.training.planning import make_plan, report_plan
from pixsearch.training.planning.answering import answering_time
from pixsearch.training.planning.architecture import planned_model
from pixsearch.training.planning.flops import decoder_flops, language_flops
from pixsearch.training.planning.gpus import CARDS
from pixsearch.training.planning.memory import (
    DEEPSPEED_BUCKET,
    WeightSizes,
    engine_memory,
    weight_sizes,
)
from pixsearch.training.planning.table import as_table
from tests.commands import run_script
from tests.tiny import tiny_model, write_tiny_parts

PARTS = [TrainablePart.tokens, TrainablePart.grounding, TrainablePart.mask_decoder]
ENGINES = ["one process", "ddp", "fsdp2", "zero2", "zero3"]


@pytest.fixture
def options(tmp_path: Path) -> PlanOptions:
    stage = StageOptions(
        name="ground", steps=10, trainable=PARTS, mixture={}, batch_size=6, accumulation=2
    )
    return PlanOptions(
        model=replace(write_tiny_parts(tmp_path), precision=Precision.bf16),
        stage=stage,
        run=RunOptions(output_dir="nowhere"),
        paths=PathOptions(outputs=str(tmp_path)),
        plan=PlanAssumptions(num_gpus=4, mean_tokens=100),
    )


def test_engines_keep_what_they_do_not_split() -> None:
    model = tiny_model()
    set_trainable(model, PARTS, TrainableTokens.new_rows)
    sizes = weight_sizes(model)
    assert sizes.whole == sum(each.nbytes for each in model.parameters())
    trained = sum(each.nbytes for each in model.parameters() if each.requires_grad)
    one, ddp, fsdp2, zero2, zero3 = engine_memory(sizes, num_gpus=4, accumulation=2)
    assert [each.engine for each in (one, ddp, fsdp2, zero2, zero3)] == ENGINES
    assert one.total == sizes.whole + 3 * trained
    assert ddp.total - one.total == trained  # its buckets
    assert ddp.weights == zero2.weights == sizes.whole
    assert fsdp2.gradients == trained  # whole while micro-batches add up
    assert engine_memory(sizes, num_gpus=4, accumulation=1)[2].gradients == trained // 4
    assert zero2.optimizer == zero3.optimizer == 3 * trained // 4
    assert zero2.gradients == trained // 4 + DEEPSPEED_BUCKET


def test_fsdp_gathers_the_root_and_two_layers() -> None:
    sizes = WeightSizes(
        encoders=10, layers=4000, largest_layer=100, root=500, trained=80, num_split=9
    )
    fsdp2 = engine_memory(sizes, num_gpus=4, accumulation=2)[2]
    assert fsdp2.weights == 10 + (4000 + 500) // 4 + (500 + 2 * 100) * 3 // 4


@pytest.mark.parametrize("place", range(len(ENGINES)), ids=ENGINES)
def test_one_gpu_holds_all_the_weights(place: int) -> None:
    model = tiny_model()
    set_trainable(model, PARTS, TrainableTokens.new_rows)
    sizes = weight_sizes(model)
    assert engine_memory(sizes, num_gpus=1, accumulation=1)[place].weights == sizes.whole


def test_time_goes_by_what_the_cards_reach(options: PlanOptions) -> None:
    first = make_plan(options, "first")
    options.plan.utilization *= 2
    second = make_plan(options, "second")
    assert second.duration.hours == pytest.approx(first.duration.hours / 2)
    assert first.duration.samples_per_step == 6 * 2 * 4
    assert first.duration.tokens_per_step == 6 * 2 * 4 * 100
    assert first.duration.images_per_sample == 16 / 12  # calls of run.encode_batch=8 images


def test_the_configured_value_of_checkpointing(options: PlanOptions) -> None:
    kept = make_plan(options, "kept")
    model = replace(options.model, gradient_checkpointing=True)
    checkpointed = make_plan(replace(options, model=model), "checkpointed")
    assert checkpointed.activations == kept.otherwise == kept.checkpointed
    assert checkpointed.otherwise == kept.activations == kept.kept
    assert checkpointed.duration.hours == kept.duration.hours_otherwise > kept.duration.hours
    assert "kept (configured)  checkpointed" in as_table(kept)
    assert "checkpointed (configured)  kept" in as_table(checkpointed)


def test_packing_leaves_the_rest_as_it_is(options: PlanOptions) -> None:
    options.stage = replace(options.stage, pack=True, by_image=True)
    options.plan.conversations_per_image = 3.0
    packed = make_plan(options, "packed")
    options.stage.pack = False
    padded = make_plan(options, "padded")
    assert packed.sample.processed < padded.sample.processed
    assert packed.flops.projector.total < padded.flops.projector.total
    assert packed.flops.mask_decoder == padded.flops.mask_decoder
    assert packed.duration.tokens_per_step == padded.duration.tokens_per_step
    assert packed.duration.images_per_sample == padded.duration.images_per_sample
    assert packed.kept == padded.kept  # the longest conversations share nothing


def test_a_longer_micro_batch_takes_more_memory(options: PlanOptions) -> None:
    first = make_plan(options, "first")
    options.stage.max_length *= 2
    second = make_plan(options, "second")
    assert second.kept.layers == 2 * first.kept.layers
    assert second.flops == first.flops  # of the mean length


def test_a_teacher_is_one_forward_more(options: PlanOptions) -> None:
    options.model = replace(options.model, ground_by=GroundBy.span, tagger_heads=2)
    without = make_plan(options, "without")
    options.stage.loss.teacher = 0.1
    flops = make_plan(options, "with").flops
    assert flops.teacher.total == flops.language_layers.forward
    assert flops.trained - without.flops.trained == flops.language_layers.forward
    assert flops.span_tagger.total > 0
    assert "span_tagger" in as_table(without)
    assert "teacher" not in as_table(without)


def test_answers_take_reading_and_writing(options: PlanOptions) -> None:
    """Reading goes by arithmetic, writing by the weights that are fetched for each token."""
    options.plan.searches = 2.0
    first = make_plan(options, "first").answering
    assert 0 < first.hours_without_search < first.hours_with_searches
    options.plan.answer_tokens *= 2
    longer = make_plan(options, "longer").answering
    written = longer.hours_without_search - first.hours_without_search
    assert longer.hours_with_searches - first.hours_with_searches == pytest.approx(written)
    options.plan.answer_batch *= 2
    assert make_plan(options, "batch").answering == first
    options.plan.searches = 0.0
    without = make_plan(options, "without").answering
    assert without.hours_with_searches == without.hours_without_search


def test_reading_an_answer_is_a_forward_of_its_tokens(options: PlanOptions) -> None:
    """Evidence of one more search costs what the layers do for so many more tokens, and a mask."""
    model, plan = planned_model(options.model, options.plan.architectures), options.plan
    size = (plan.image_height, plan.image_width)
    before = model.family.layout(size).num_tokens + plan.question_tokens
    plan.searches = 1.0
    found = answering_time(model, plan)
    layers = [
        language_flops(model, tokens=tokens, row=tokens).forward
        for tokens in (before, before + plan.evidence_tokens)
    ]
    more = layers[1] - layers[0] + decoder_flops(model.segmenter, masks=1).forward
    rate = CARDS[plan.gpu].bf16 * plan.utilization
    difference = found.hours_with_searches - found.hours_without_search
    assert difference == pytest.approx(1000 * more / rate / 3600)


def test_the_report(options: PlanOptions, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        file = report_plan(options, "tiny")
    table = as_table(make_plan(options, "tiny"))
    assert table in caplog.messages
    written = json.loads(file.read_text())
    assert file.name == "tiny.json"
    assert list(written["engines"]) == ENGINES
    assert f"{written['parameters']['total']:,}" in table
    assert written["options"]["stage"]["batch_size"] == 6
    assert table.count("estimate") == 5  # every section but the weights


@pytest.mark.slow
def test_the_script(tmp_path: Path) -> None:
    done = run_script("plan", "experiment=plum_13b", "stage=ground", f"paths.outputs={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "14,146,478,939" in done.stdout
    assert "14,153,032,539" in done.stdout
    assert (tmp_path / "plan" / "plum_13b_ground.json").exists()


@pytest.mark.slow
def test_the_script_tells_of_unknown_sizes_in_one_line(tmp_path: Path) -> None:
    done = run_script("plan", "model.language_model=some/model", f"paths.outputs={tmp_path}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "architecture/some/model/config.json" in done.stderr
