"""The steps that the training benchmark compares compute the same loss; what they cost differs."""

import dataclasses
from pathlib import Path

import pytest
import torch

from pixsearch.config import BenchTrainingOptions
from pixsearch.datasets.batch import collate
from pixsearch.model.pixsearch import PixSearch
from pixsearch.training.bench.measure import MIB, forget_peak, measure, peak_mib, resident_mib
from pixsearch.training.bench.steps import ProductStep, Savings, Step, mixture_of
from pixsearch.training.bench.subject import build_model, examples

TINY = BenchTrainingOptions(
    num_images=4,
    images_per_step=2,
    num_classes=3,
    image_height=48,
    image_width=64,
    width=64,
    layers=2,
    tower_width=32,
    tower_layers=2,
    segmenter_width=64,
    segmenter_layers=2,
    segmenter_side=64,
    threads=1,
)
ALONE = [field.name for field in dataclasses.fields(Savings)]


@pytest.fixture(scope="module")
def model() -> PixSearch:
    return build_model(TINY)


def test_all_savings_together_are_the_models_own_forward(model: PixSearch) -> None:
    batch_examples = examples(TINY)[:6]
    ours = Step(model, Savings.all(), max_length=2048).losses(batch_examples)
    batch = collate(
        batch_examples, model.renderer, max_length=2048, frame=model.config.segmenter_frame
    )
    expected = model(
        input_ids=batch.input_ids,
        labels=batch.labels,
        image_features=model.encode_image([load() for load in batch.load_images]),
        image_index=batch.image_rows,
        target_masks=torch.cat(batch.target_masks),
        mask_weights=torch.cat(batch.mask_weights),
    ).losses
    torch.testing.assert_close(ours.sums, expected.sums, atol=1e-4, rtol=1e-5)
    assert ours.counts == expected.counts


@pytest.mark.parametrize("name", ALONE)
def test_a_saving_alone_leaves_the_loss_as_it_is(model: PixSearch, name: str) -> None:
    """Masks of another size differ a little: borders are other shares of their pixels."""
    batch_examples = examples(TINY)[:6]
    theirs = Step(model, Savings(), max_length=2048).losses(batch_examples)
    chosen = {name: True} | ({"encode_once": True} if name == "keep_features" else {})
    ours = Step(model, Savings(**chosen), max_length=2048).losses(batch_examples)
    tolerance = 0.02 if name == "small_masks" else 1e-5
    torch.testing.assert_close(ours.sums, theirs.sums, atol=1e-4, rtol=tolerance)


def test_kept_features_are_not_computed_again(
    model: PixSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    encode = model.encode_image
    monkeypatch.setattr(model, "encode_image", lambda images: calls.append(1) or encode(images))
    kept = Step(model, Savings(encode_once=True, keep_features=True), max_length=2048)
    once = Step(model, Savings(encode_once=True), max_length=2048)
    for _ in range(2):
        kept.losses(examples(TINY)[:3])
    assert len(calls) == 1
    for _ in range(2):
        once.losses(examples(TINY)[:3])
    assert len(calls) == 3


def test_the_step_of_a_run_has_the_same_loss(model: PixSearch) -> None:
    conversations = examples(TINY)
    mixture = mixture_of(conversations)
    ours = ProductStep(model, conversations, size=6, max_length=2048).losses(0)
    theirs = Step(model, Savings(), max_length=2048).losses([mixture[place] for place in range(6)])
    assert ours.counts == theirs.counts
    torch.testing.assert_close(ours.sums, theirs.sums, atol=0.5, rtol=0.02)  # encoders in bf16


NEEDS_PROC = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc"
)


@NEEDS_PROC
def test_a_measurement_learns() -> None:
    found = measure(TINY, Savings.all())
    assert len(found.losses) == TINY.num_epochs
    assert found.first > 0


@NEEDS_PROC
def test_the_peak_is_counted_anew() -> None:
    """Memory that was given back counts if it was taken since; the kernel's counts are rough."""
    earlier = torch.ones(128, MIB // 4)
    del earlier
    before = resident_mib()
    forget_peak()
    assert peak_mib() - before < 16
    taken = torch.ones(64, MIB // 4)
    del taken
    assert abs(peak_mib() - before - 64) < 16
