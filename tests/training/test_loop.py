"""Whole runs of the tiny model, through the real readers."""

import importlib.util
import json
import math
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import set_seed
from safetensors.torch import load_file

from pixsearch.config import (
    GroundBy,
    LossOptions,
    OnError,
    OptimOptions,
    Precision,
    Quantization,
    SegState,
    TrainablePart,
    TrainableTokens,
    TrainOptions,
)
from pixsearch.datasets.example import Example
from pixsearch.model import PixSearch
from pixsearch.model.packing import pack
from pixsearch.training import batches, fit, step
from tests.training.runs import kill, metrics, started, tiny_options

PATIENCE = 200  # seconds for a run in a process of its own, on a busy machine
LOSSES = ("loss", "language", "mask_bce", "mask_overlap", "grad_norm")


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def accelerate(config: str) -> tuple[str, ...]:
    """As the README launches it, on two processes."""
    return (
        *("-m", "accelerate.commands.launch"),
        *("--config_file", f"configs/accelerate/{config}.yaml"),
        *("--num_processes", "2", "--main_process_port", "0"),
    )


LAUNCHERS = {
    "torchrun": (TORCHRUN, "Replicated", 1.0),
    "ddp": (accelerate("ddp"), "Replicated", 1.0),
    "fsdp2": (accelerate("fsdp2"), "FullySharded", 0.5),
    "zero2": (accelerate("zero2"), "Zero2", 1.0),
    "zero3": (accelerate("zero3"), "Zero3", 0.5),
}
WITHOUT_DEEPSPEED = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="make setup EXTRAS=cpu,dev,deepspeed"
)
ENGINES = [  # the fast suite has time for one only: one that keeps weights in shards
    pytest.param("ddp", marks=pytest.mark.slow),
    "fsdp2",
    pytest.param("zero2", marks=[WITHOUT_DEEPSPEED, pytest.mark.slow]),
    pytest.param("zero3", marks=[WITHOUT_DEEPSPEED, pytest.mark.slow]),
]


def run_beside(options: TrainOptions, name: str, **stage: int) -> TrainOptions:
    """The same run in a folder of its own, with other options of the stage."""
    output_dir = str(Path(options.run.output_dir).with_name(name))
    return replace(
        options,
        stage=replace(options.stage, **stage),
        run=replace(options.run, output_dir=output_dir),
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return PixSearch.from_pretrained(folder).state_dict()


def test_a_run_writes_what_it_promises(tmp_path: Path) -> None:
    options = tiny_options(tmp_path, steps=5)
    final = fit(options)
    assert final == tmp_path / "run" / "final"
    lines = metrics(options)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert all(math.isfinite(line[name]) for line in lines for name in LOSSES)
    assert lines[0]["learning_rate"] == pytest.approx(1e-3)
    held_out = (tmp_path / "run" / "held_out.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in held_out] == [2, 4, 5]
    assert sorted(path.name for path in (tmp_path / "run").glob("step-*")) == ["step-000004"]
    assert json.loads((final / "train_options.json").read_text())["stage"]["steps"] == 5


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    options = tiny_options(tmp_path, steps=1)
    final = fit(options)
    written = (final / "model.safetensors").stat().st_mtime_ns
    assert fit(options) == final
    assert (final / "model.safetensors").stat().st_mtime_ns == written
    options.run.resume = False
    fit(options)
    assert (final / "model.safetensors").stat().st_mtime_ns > written


def test_a_run_that_begins_anew_removes_nothing_before_it_can_begin(tmp_path: Path) -> None:
    options = tiny_options(tmp_path, steps=1)
    final = fit(options)
    options.run.resume = False
    options.stage.init_from = str(final)
    with pytest.raises(ValueError, match=r"would remove stage\.init_from"):
        fit(options)
    options.stage.init_from = None
    squares = options.data.sources["squares"]
    options.data.sources["squares"] = replace(squares, root=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="nowhere"):
        fit(options)
    assert (final / "model.safetensors").exists()


def test_one_batch_is_learned_by_heart(tmp_path: Path) -> None:
    options = tiny_options(tmp_path, steps=60, batch_size=4, optim=OptimOptions(lr=1e-2))
    options.run = replace(options.run, overfit_one_batch=True, evaluate_every=0, save_every=0)
    options.stage.optim.warmup_steps = 5
    fit(options)
    losses = [line["language"] for line in metrics(options)]
    assert losses[-1] < 0.1 * losses[0]


def test_phrases_are_learned_by_heart_where_they_are_tagged(tmp_path: Path) -> None:
    options = spans(tiny_options(tmp_path, steps=60, batch_size=4, optim=OptimOptions(lr=1e-2)))
    options.run = replace(options.run, overfit_one_batch=True, evaluate_every=0, save_every=0)
    options.stage.optim.warmup_steps = 5
    fit(options)
    losses = [line["span_tagging"] for line in metrics(options)]
    assert losses[-1] < 0.1 * losses[0]


def spans(options: TrainOptions) -> TrainOptions:
    """The same run by tagged spans, with all that goes with them; the language model by LoRA."""
    model = replace(
        options.model,
        ground_by=GroundBy.span,
        tagger_heads=2,
        tagger_width=48,
        tagger_dropout=0.0,
        mask_feedback=True,
        lora_rank=4,
        lora_dropout=0.0,
    )
    parts = ["lora", "tokens", "grounding", "mask_decoder", "prompt_encoder"]
    stage = replace(
        options.stage,
        trainable=[TrainablePart(part) for part in parts],
        trainable_tokens=TrainableTokens.new_rows,
        loss=LossOptions(teacher=0.1),
    )
    return replace(options, model=model, stage=stage)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_tagged_spans_train_alike_under_every_engine(tmp_path: Path, name: str) -> None:
    """Every third row has no image and no phrase; a process may have nothing else."""
    one = spans(tiny_options(tmp_path, batch_size=4, steps=3))
    one.model.mask_feedback = name != "zero3"  # which refuses it
    two = run_beside(one, "two", batch_size=1, accumulation=2)
    fit(one)
    run_launched(two, LAUNCHERS[name][0])
    for alone, together in zip(metrics(one), metrics(two), strict=True):
        assert alone["span_tagging"] > 0
        assert together == pytest.approx(alone, abs=1e-6, rel=1e-5)


def test_a_checkpoint_without_adapters_gets_them(tmp_path: Path) -> None:
    options = tiny_options(tmp_path, steps=1)
    start = tmp_path / "converted"
    PixSearch.compose(options.model).save_pretrained(start)
    options.stage.init_from = str(start)
    options.stage.trainable = [TrainablePart.lora, TrainablePart.tokens]
    options.stage.trainable_tokens = TrainableTokens.new_rows
    options.model = replace(options.model, lora_rank=4, lora_dropout=0.0)
    before, after = weights(start), weights(fit(options))
    added = after.keys() - before.keys()
    assert any("lora_B" in name for name in added)
    kept = {name: one for name, one in after.items() if "lora_" not in name}
    assert len(kept) == len(before)
    for name, tensor in before.items():
        if "language_model.layers" in name:
            owner, _, kind = name.rpartition(".")
            same = kept.get(name, kept.get(f"{owner}.base_layer.{kind}"))
            assert torch.equal(same, tensor), name


@pytest.mark.slow
def test_what_the_13b_configuration_combines_works_together(tmp_path: Path) -> None:
    """Spans, feedback, teacher, bf16, layers computed again; packed or not, the same losses."""
    padded = spans(rounded(tiny_options(tmp_path, batch_size=4, steps=3)))
    padded.model.frozen_in_bf16 = padded.model.gradient_checkpointing = True
    padded.model.precision = Precision.bf16
    packed = run_beside(padded, "packed", pack=True)
    for options in (padded, packed):
        run_to_the_end(options)
    first, second = metrics(padded), metrics(packed)
    assert second[0]["loss"] == pytest.approx(first[0]["loss"], rel=2e-3)
    assert all(math.isfinite(line["teacher"]) for line in second)


@pytest.mark.parametrize(
    ("change", "needed"),
    [({"ground_by": GroundBy.seg, "mask_feedback": False}, "ground_by=span"), ({}, "trains lora")],
)
def test_a_teacher_that_is_not_there_is_refused(
    tmp_path: Path, change: dict[str, Any], needed: str
) -> None:
    options = spans(tiny_options(tmp_path, steps=1))
    options.model = replace(options.model, **change)
    if not change:
        options.stage.trainable.append(TrainablePart.language_model)
    with pytest.raises(ValueError, match=needed):
        fit(options)


def test_accumulated_batches_take_the_step_of_a_large_one(tmp_path: Path) -> None:
    """Rows with and without image and masks make the micro-batches uneven."""
    whole = tiny_options(tmp_path, batch_size=4, accumulation=1)
    parts = run_beside(whole, "parts", batch_size=2, accumulation=2)
    final, same_final = fit(whole), fit(parts)
    for one, other in zip(metrics(whole), metrics(parts), strict=True):
        assert other == pytest.approx(one, abs=1e-6, rel=1e-5)
    state = weights(same_final)
    for name, tensor in weights(final).items():
        torch.testing.assert_close(state[name], tensor, atol=1e-6, rtol=0)


def test_packed_rows_take_the_step_of_padded_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    padded = tiny_options(tmp_path, batch_size=4)
    packed = run_beside(padded, "packed", pack=True)
    made = []
    monkeypatch.setattr(batches, "pack", lambda *a, **o: made.append(pack(*a, **o)) or made[-1])
    final = fit(padded)
    assert not made
    same_final = fit(packed)
    assert made
    for one, other in zip(metrics(padded), metrics(packed), strict=True):
        assert other == pytest.approx(one, abs=1e-6, rel=1e-5)
    state = weights(same_final)
    for name, tensor in weights(final).items():
        torch.testing.assert_close(state[name], tensor, atol=1e-6, rtol=0)


def test_a_run_with_a_store_of_features_is_the_same_run(tmp_path: Path) -> None:
    plain = tiny_options(tmp_path)
    filling, reading = run_beside(plain, "filling"), run_beside(plain, "reading")
    for options in (filling, reading):
        options.run.feature_store = str(tmp_path / "features")
        options.run.feature_cache_gib = 0.0
    reading.run.decode_ahead = False
    fit(plain)
    fit(filling)
    stored = list((tmp_path / "features").rglob("*.safetensors"))
    fit(reading)
    assert stored
    assert sorted(stored) == sorted((tmp_path / "features").rglob("*.safetensors"))
    assert metrics(plain) == metrics(filling) == metrics(reading)


def test_length_grouping_resumes_in_the_middle_of_a_window(tmp_path: Path) -> None:
    options = tiny_options(tmp_path, steps=6, length_window=4)
    options.run.save_every = 3
    final = fit(options)
    before, learned = metrics(options), weights(final)
    shutil.rmtree(final)
    assert fit(options) == final
    assert [line["loss"] for line in metrics(options)] == [line["loss"] for line in before]
    assert all(torch.equal(learned[name], tensor) for name, tensor in weights(final).items())


def test_stages_follow_each_other(tmp_path: Path) -> None:
    first = tiny_options(tmp_path, steps=1)
    second = run_beside(first, "second", steps=2)
    second.stage.init_from = str(fit(first))
    final = fit(second)
    name = "new_rows.embedding"
    assert not torch.equal(weights(final)[name], weights(Path(second.stage.init_from))[name])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seg_state": SegState.token}, r"model\.seg_state=token, but .* predicting"),
        ({"restate_question": True}, r"model\.restate_question=True, but .* False"),
    ],
)
def test_a_stage_that_asks_for_another_model_than_it_begins_from_is_refused(
    tmp_path: Path, other: dict[str, Any], message: str
) -> None:
    first = tiny_options(tmp_path, steps=1)
    second = run_beside(first, "second", steps=1)
    second.stage.init_from = str(fit(first))
    second.model = replace(second.model, **other)
    with pytest.raises(ValueError, match=message):
        fit(second)


def test_samples_are_written_at_each_evaluation(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Answer:
        request_id: str
        all_text: str = "It is"
        grounded: tuple = ()
        searches: tuple = ()

    def answer(model: PixSearch, examples: Sequence[Example]) -> list[Answer]:
        assert not model.training
        torch.rand(3)  # an evaluation may draw random numbers and change nothing
        return [Answer(request_id=example.id) for example in examples]

    watched = tiny_options(tmp_path, steps=3)
    alone = run_beside(watched, "alone")
    fit(watched, evaluate=answer)
    fit(alone)
    folders = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert folders == ["step-000002", "step-000003"]
    assert metrics(watched) == metrics(alone)


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = tiny_options(tmp_path, steps=3)
    monkeypatch.setattr(step, "lr_factor", lambda *_, **__: math.nan)  # spoils the first update
    with pytest.raises(FloatingPointError, match=r"step 2: .*not_finite_step-000002\.json"):
        fit(options)
    ids = json.loads((tmp_path / "run" / "not_finite_step-000002.json").read_text())
    assert len(ids) == 2
    assert all(name.startswith(("square-", "words-")) for name in ids)


def test_gradients_are_clipped(tmp_path: Path) -> None:
    free = tiny_options(tmp_path, steps=1)
    clipped = run_beside(free, "clipped")
    optim = replace(free.stage.optim, clip_norm=1e-12)  # far below Adam's epsilon
    clipped.stage = replace(clipped.stage, optim=optim)
    before = PixSearch.compose(free.model).state_dict()
    moved = {}
    for options in (free, clipped):
        after = weights(fit(options))
        moved[options.run.output_dir] = max(
            (after[name] - tensor).abs().max().item()
            for name, tensor in before.items()
            if "mask_decoder" in name
        )
    assert moved[clipped.run.output_dir] < 1e-3 * moved[free.run.output_dir]
    assert metrics(clipped)[0]["grad_norm"] == metrics(free)[0]["grad_norm"]  # before clipping


@pytest.mark.slow
def test_bf16_is_arithmetic_alone(tmp_path: Path) -> None:
    exact = tiny_options(tmp_path, steps=2)
    rounded = run_beside(exact, "rounded")
    rounded.model = replace(exact.model, precision=Precision.bf16)
    fit(exact)
    run_to_the_end(rounded)  # a process has one precision
    final = weights(tmp_path / "rounded" / "final")
    assert {weight.dtype for weight in final.values()} == {torch.float32}
    first, second = metrics(exact)[0], metrics(rounded)[0]
    assert second["loss"] == pytest.approx(first["loss"], rel=0.02)
    assert second["loss"] != first["loss"]


def rounded(options: TrainOptions) -> TrainOptions:
    """Arithmetic in bf16 with frozen weights that are kept so, LoRA in fp32."""
    model = replace(
        options.model, lora_rank=4, precision=Precision.bf16, frozen_in_bf16=True, lora_dropout=0.0
    )
    parts = ["lora", "tokens", "grounding", "mask_decoder"]
    stage = replace(
        options.stage,
        trainable=[TrainablePart(part) for part in parts],
        trainable_tokens=TrainableTokens.new_rows,
    )
    return replace(options, model=model, stage=stage)


@pytest.mark.slow
def test_frozen_weights_may_be_kept_in_bf16(tmp_path: Path) -> None:
    halves = rounded(tiny_options(tmp_path, steps=3))
    whole = run_beside(halves, "whole")
    whole.model = replace(halves.model, frozen_in_bf16=False)
    for options in (halves, whole):
        run_to_the_end(options)
    for ours, theirs in zip(metrics(halves), metrics(whole), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=2e-3)  # encoders differ
    state = load_file(tmp_path / "run" / "final" / "model.safetensors")
    kept = {name for name, tensor in state.items() if tensor.dtype is torch.bfloat16}
    assert any("vision_encoder.layers" in name for name in kept)
    assert any("self_attn.k_proj" in name for name in kept)
    assert not any("lora_" in name or "norm" in name or "new_rows" in name for name in kept)
    halves.run.output_dir = str(tmp_path / "fp32")
    halves.model.precision = Precision.fp32
    with pytest.raises(ValueError, match="this run computes in fp32"):
        fit(halves)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_weights_kept_in_bf16_train_under_every_engine(tmp_path: Path, name: str) -> None:
    one = rounded(tiny_options(tmp_path, batch_size=4, steps=3))
    two = run_beside(one, "two", batch_size=1, accumulation=2)
    run_to_the_end(one)
    run_launched(two, LAUNCHERS[name][0])
    for alone, together in zip(metrics(one), metrics(two), strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=5e-3)


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """SIGKILL between two checkpoints; LoRA's dropout shows that random numbers resume too."""
    untouched = tiny_options(
        tmp_path,
        steps=9,
        trainable=[TrainablePart.lora, TrainablePart.tokens, TrainablePart.mask_decoder],
        trainable_tokens=TrainableTokens.new_rows,
    )
    untouched.model = replace(untouched.model, lora_rank=4, lora_dropout=0.2)
    untouched.run = replace(untouched.run, save_every=4)
    run_to_the_end(untouched)
    killed = run_beside(untouched, "killed")
    with started(killed) as process:
        wait_for_step(killed, 6, process)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "final").exists()
    run_to_the_end(killed)
    assert metrics(killed) == metrics(untouched)
    ours, theirs = (weights(tmp_path / name / "final") for name in ("killed", "run"))
    assert [name for name, weight in theirs.items() if not torch.equal(ours[name], weight)] == []


def run_to_the_end(options: TrainOptions) -> None:
    """In a process of its own, as users resume: nothing that other tests did is there."""
    with started(options) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors


def run_launched(options: TrainOptions, launcher: tuple[str, ...]) -> None:
    with started(options, launcher=launcher) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors


@pytest.mark.parametrize("name", [pytest.param("torchrun", marks=pytest.mark.slow), *ENGINES])
def test_two_processes_take_the_step_of_one(tmp_path: Path, name: str) -> None:
    launcher, engine, share = LAUNCHERS[name]
    one = tiny_options(tmp_path, batch_size=4, steps=3)
    two = run_beside(one, "two", batch_size=1, accumulation=2)
    fit(one)
    run_launched(two, launcher)
    found = json.loads((tmp_path / "two" / "engine.json").read_text())
    assert (found["engine"], found["num_processes"]) == (engine, 2)
    assert found["num_weights_here"] / found["num_weights"] == pytest.approx(share, abs=0.02)
    if engine.startswith("Zero"):
        assert found["num_trained_here"] / found["num_trained"] == pytest.approx(0.5, abs=0.02)
    for alone, together in zip(metrics(one), metrics(two), strict=True):
        assert together == pytest.approx(alone, abs=1e-6, rel=1e-5)
    state = weights(tmp_path / "two" / "final")
    for name, tensor in weights(tmp_path / "run" / "final").items():
        torch.testing.assert_close(state[name], tensor, atol=1e-6, rtol=0)


def wait_for_step(options: TrainOptions, last: int, process: "subprocess.Popen[str]") -> None:
    path = Path(options.run.output_dir) / "metrics.jsonl"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().count("\n") >= last:
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)
    raise AssertionError(f"the run did not reach step {last}")


def test_a_dataset_of_weight_zero_is_left_out(tmp_path: Path) -> None:
    options = tiny_options(tmp_path, steps=1, mixture={"squares": 1.0, "elsewhere": 0.0})
    squares = options.data.sources["squares"]
    options.data.sources["elsewhere"] = replace(squares, root=str(tmp_path / "nowhere"))
    assert fit(options).is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        *[("fsdp2", None), (None, "fsdp2"), ("fsdp2", "ddp")],
        *(
            pytest.param(*pair, marks=WITHOUT_DEEPSPEED)
            for pair in [
                *[("zero2", None), ("zero2", "fsdp2"), ("fsdp2", "zero2")],
                *[("zero3", None), ("zero3", "fsdp2"), ("zero2", "zero3")],
            ]
        ),
    ],
)
def test_a_run_goes_on_under_another_engine(
    tmp_path: Path, before: str | None, after: str | None
) -> None:
    """Killed under one engine and number of processes, resumed under another."""
    untouched = tiny_options(tmp_path, batch_size=4, steps=8)
    fit(untouched)
    killed = run_beside(untouched, "killed", **cut(before))
    with started(killed, launcher=launcher_of(before)) as process:
        wait_for_step(killed, 5, process)
        kill(process)
    assert not (tmp_path / "killed" / "final").exists()
    resumed = run_beside(untouched, "killed", **cut(after))
    run_launched(resumed, launcher_of(after))
    ours, theirs = metrics(resumed), metrics(untouched)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    for found, expected in zip(ours, theirs, strict=True):
        assert found == pytest.approx(expected, abs=1e-5, rel=1e-4)


def cut(engine: str | None) -> dict[str, int]:
    """How the four examples of a step are shared out."""
    return {"batch_size": 4} if engine is None else {"batch_size": 1, "accumulation": 2}


def launcher_of(engine: str | None) -> tuple[str, ...]:
    return () if engine is None else LAUNCHERS[engine][0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_no_rank_waits_for_one_without_images_or_masks(tmp_path: Path, name: str) -> None:
    """Every third conversation has neither, and a micro-batch is one conversation."""
    one = tiny_options(tmp_path, batch_size=6, steps=2)
    one.run = replace(one.run, held_out=1)  # fewer than processes: one has nothing to look at
    two = run_beside(one, "two", batch_size=1, accumulation=3)
    fit(one)
    run_launched(two, LAUNCHERS[name][0])
    for alone, together in zip(metrics(one), metrics(two), strict=True):
        assert together == pytest.approx(alone, abs=1e-5, rel=1e-4)
    ours, theirs = (
        [json.loads(line) for line in (tmp_path / run / "held_out.jsonl").read_text().splitlines()]
        for run in ("two", "run")
    )
    for together, alone in zip(ours, theirs, strict=True):
        assert together == pytest.approx(alone, abs=1e-5, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_each_engine_resumes_to_the_last_bit(tmp_path: Path, name: str) -> None:
    """LoRA's dropout among what has to come back; the batches are cut as before."""
    parts = [TrainablePart.lora, TrainablePart.tokens, TrainablePart.mask_decoder]
    untouched = tiny_options(
        tmp_path,
        batch_size=1,
        accumulation=2,
        steps=8,
        trainable=parts,
        trainable_tokens=TrainableTokens.new_rows,
    )
    untouched.model = replace(untouched.model, lora_rank=4, lora_dropout=0.2)
    killed = run_beside(untouched, "killed")
    launcher, *_ = LAUNCHERS[name]
    run_launched(untouched, launcher)
    with started(killed, launcher=launcher) as process:
        wait_for_step(killed, 5, process)
        kill(process)
    assert not (tmp_path / "killed" / "final").exists()
    run_launched(killed, launcher)
    assert metrics(killed) == metrics(untouched)
    ours, theirs = (weights(tmp_path / run / "final") for run in ("killed", "run"))
    assert [key for key, weight in theirs.items() if not torch.equal(ours[key], weight)] == []


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="make setup EXTRAS=cpu,dev,qlora"
)
@pytest.mark.parametrize("name", ["ddp", pytest.param("zero2", marks=WITHOUT_DEEPSPEED)])
def test_adapters_train_beside_4_bit_weights(tmp_path: Path, name: str) -> None:
    parts = [TrainablePart.lora, TrainablePart.tokens, TrainablePart.mask_decoder]
    one = tiny_options(
        tmp_path,
        batch_size=4,
        steps=6,
        trainable=parts,
        trainable_tokens=TrainableTokens.new_rows,
    )
    one.model = replace(
        one.model,
        quantization=Quantization.nf4,
        lora_rank=4,
        lora_dropout=0.0,
        gradient_checkpointing=True,
    )
    two, killed = (run_beside(one, run, batch_size=2) for run in ("two", "killed"))
    fit(one)
    run_launched(two, LAUNCHERS[name][0])
    for alone, together in zip(metrics(one), metrics(two), strict=True):
        assert together == pytest.approx(alone, abs=1e-5, rel=1e-4)
    with started(killed, launcher=LAUNCHERS[name][0]) as process:
        wait_for_step(killed, 3, process)
        kill(process)
    run_launched(killed, LAUNCHERS[name][0])
    assert metrics(killed) == metrics(two)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_layers_that_are_computed_again_take_the_same_steps(tmp_path: Path, name: str) -> None:
    one = tiny_options(tmp_path, batch_size=4, steps=2)
    two = run_beside(one, "two", batch_size=1, accumulation=2)
    two.model = replace(one.model, gradient_checkpointing=True)
    fit(one)
    run_launched(two, LAUNCHERS[name][0])
    for alone, together in zip(metrics(one), metrics(two), strict=True):
        assert together == pytest.approx(alone, abs=1e-6, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", ENGINES)
def test_new_rows_and_adapters_train_under_each_engine(
    tmp_path: Path, name: str, tied: bool
) -> None:
    parts = [TrainablePart.lora, TrainablePart.tokens, TrainablePart.mask_decoder]
    one = tiny_options(
        tmp_path,
        tied=tied,
        batch_size=2,
        steps=2,
        trainable=parts,
        trainable_tokens=TrainableTokens.new_rows,
    )
    one.model = replace(one.model, lora_rank=2, lora_dropout=0.0)
    two = run_beside(one, "two", batch_size=1)
    fit(one)
    run_launched(two, LAUNCHERS[name][0])
    before = weights_of_composed(one)
    alone, together = (weights(tmp_path / run / "final") for run in ("run", "two"))
    for key, tensor in alone.items():
        torch.testing.assert_close(together[key], tensor, atol=1e-6, rtol=0)
    moved = {key for key, tensor in together.items() if not torch.equal(tensor, before[key])}
    assert {key for key in moved if key.startswith("new_rows")} == {
        key for key in before if key.startswith("new_rows")
    }
    assert any("lora_B" in key for key in moved)
    assert not any("embed_tokens" in key or "lm_head" in key for key in moved)


def weights_of_composed(options: TrainOptions) -> dict[str, torch.Tensor]:
    set_seed(options.run.seed)
    return PixSearch.compose(options.model).state_dict()


@pytest.mark.slow
def test_two_processes_leave_out_the_same_broken_examples(tmp_path: Path) -> None:
    one = tiny_options(tmp_path, batch_size=4, steps=6, by_image=True)
    one.data.on_error = OnError.quarantine
    for image in ("4.png", "7.png"):
        (Path(one.data.sources["squares"].root) / "images" / image).unlink()
    two = run_beside(one, "two", batch_size=1, accumulation=2)
    fit(one)
    run_launched(two, TORCHRUN)
    for alone, together in zip(metrics(one), metrics(two), strict=True):
        assert together == pytest.approx(alone, abs=1e-6, rel=1e-5)
    for folder in ("run", "two"):
        lines = (tmp_path / folder / "quarantine.jsonl").read_text().splitlines()
        assert sorted(json.loads(line)["id"] for line in lines) == ["square-4", "square-7"]
