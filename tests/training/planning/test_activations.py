"""What a layer keeps for its backward, against what autograd keeps."""

import functools
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import Sam2Model, SamModel

from pixsearch.config import GroundBy, PlanAssumptions, TrainablePart, TrainableTokens
from pixsearch.model import PixSearch
from pixsearch.model.backbone import Embedded, recompute_layers
from pixsearch.model.mask_feedback import EarlierMasks
from pixsearch.model.segmenters import segmenter_kind
from pixsearch.model.trainable import set_trainable
from pixsearch.precision import keep_frozen_in_bf16
from pixsearch.training.planning.activations import (
    DECODER_TENSORS,
    FEEDBACK_TENSORS,
    FP32,
    activation_memory,
    encoding_bytes,
    layer_bytes,
    masks_bytes,
    tagger_bytes,
)
from pixsearch.training.planning.counting import matrix_weights
from tests.families import family_model, tiny_sam2_config
from tests.tiny import HIDDEN, tiny_model, tiny_segmenter_config

ROWS, LENGTH = 2, 64
SIZES = {"rows": 3, "tokens": 50, "encode_batch": 1, "mixed": True, "encoders_mixed": False}
TAGGER = {"tagger_heads": 2, "tagger_width": 48, "tagger_dropout": 0.0}


def run_language_model(model: PixSearch) -> Tensor:
    embeddings = torch.zeros(ROWS, LENGTH, HIDDEN, requires_grad=True) * 1.0
    positions = torch.arange(LENGTH).expand(3, ROWS, -1) if model.family.has_axes else None
    return model.language_states(Embedded(embeddings=embeddings, positions=positions))


def kept_by_autograd(model: PixSearch, run: Callable[[], Tensor], *, mixed: bool = True) -> int:
    """Bytes of the tensors that a forward saves, weights and their copies left out."""
    weights = {each.untyped_storage().data_ptr() for each in model.parameters()}
    shapes = {each.shape for each in model.parameters()}
    shapes |= {each.T.shape for each in model.parameters() if each.ndim == 2}
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights and tensor.shape not in shapes:
            saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=mixed),
    ):
        run()
    return sum(each.untyped_storage().nbytes() for each in saved.values())


CASES = {
    "adapters": lambda: tiny_model(
        lora_rank=4, lora_dropout=0.0, lora_targets=["q_proj", "v_proj"]
    ),
    "whole": lambda: tiny_model(),
    "qwen3_vl": lambda: family_model("qwen3_vl"),
}


@pytest.mark.parametrize("case", CASES)
def test_layers(case: str) -> None:
    model = CASES[case]().train()
    part = TrainablePart.lora if case == "adapters" else TrainablePart.language_model
    rows = TrainableTokens.new_rows if case == "adapters" else TrainableTokens.all
    set_trainable(model, [part], rows)
    num_layers = len(model.backbone.model.language_model.layers)
    in_bf16, in_fp32 = (
        num_layers * layer_bytes(model, mixed=mixed) * ROWS * LENGTH for mixed in (True, False)
    )
    assert in_bf16 == pytest.approx(
        kept_by_autograd(model, lambda: run_language_model(model)), rel=0.1
    )
    in_fp32_kept = kept_by_autograd(model, lambda: run_language_model(model), mixed=False)
    assert 0.9 < in_fp32 / in_fp32_kept < 1.4  # an upper bound


@pytest.mark.parametrize("name", ["llava", "qwen3_vl"], ids=["sam", "sam2"])
def test_mask_decoder(name: str) -> None:
    """A tiny one; the numbers beside DECODER_TENSORS were read off the real ones in this way."""
    model = family_model(name)
    kind = segmenter_kind(model.segmenter.config)
    prompts = torch.zeros(ROWS, HIDDEN, requires_grad=True)
    features = kind.nothing(model.segmenter).index([0] * ROWS)
    kept = kept_by_autograd(model, lambda: kind.decode(model.segmenter, prompts, features))
    pixels = features.embedding.shape[-1] ** 2
    assert kept < 2 * ROWS * DECODER_TENSORS * pixels * HIDDEN


@pytest.mark.parametrize("mixed", [True, False], ids=["bf16", "fp32"])
def test_tagger(mixed: bool) -> None:
    model = tiny_model(ground_by=GroundBy.span, **TAGGER).train()
    states = torch.randn(ROWS, LENGTH, HIDDEN, requires_grad=True) * 1.0
    is_seen = torch.ones(ROWS, LENGTH, LENGTH, dtype=torch.bool).tril()
    kept = kept_by_autograd(
        model, lambda: model.grounding.tagger(states, states, is_seen), mixed=mixed
    )
    planned = ROWS * LENGTH * tagger_bytes(model, tokens=LENGTH, mixed=mixed)
    assert planned == pytest.approx(kept, rel=0.1)


@pytest.mark.parametrize("num_earlier", [1, 3])
def test_mask_feedback(num_earlier: int) -> None:
    """A tiny one; the numbers beside FEEDBACK_TENSORS were read off the real one in this way."""
    model = tiny_model(ground_by=GroundBy.span, mask_feedback=True, **TAGGER)
    side = model.config.segmenter_frame.resolution
    earlier = EarlierMasks(
        prompts=torch.randn(1, num_earlier, HIDDEN, requires_grad=True),
        mask_logits=torch.randn(1, num_earlier, side, side, requires_grad=True),
    )
    features = segmenter_kind(model.segmenter.config).nothing(model.segmenter)
    prompt = torch.zeros(1, HIDDEN, requires_grad=True)
    alone, fed = (
        kept_by_autograd(model, functools.partial(model.decode_masks, prompt, features, each))
        for each in (None, earlier)
    )
    pixels = features.embedding.shape[-1] ** 2
    assert fed - alone < 2 * num_earlier * FEEDBACK_TENSORS * pixels * HIDDEN


def test_masks_grow_with_what_stands_before_them() -> None:
    model = tiny_model(ground_by=GroundBy.span, mask_feedback=True, **TAGGER)
    without = tiny_model(ground_by=GroundBy.span, **TAGGER)
    pair = masks_bytes(model, masks=2) - masks_bytes(without, masks=2)
    assert masks_bytes(model, masks=1) == masks_bytes(without, masks=1)
    assert masks_bytes(model, masks=4) == masks_bytes(without, masks=4) + 6 * pair


def test_checkpointing_keeps_one_layer_and_the_inputs_of_all() -> None:
    model = tiny_model()
    set_trainable(model, [TrainablePart.tokens], TrainableTokens.new_rows)
    estimate = functools.partial(activation_memory, model, PlanAssumptions(), **SIZES)
    kept, checkpointed = estimate(checkpointing=False), estimate(checkpointing=True)
    one = layer_bytes(model, mixed=True)
    assert kept.layers == 3 * 50 * 2 * one
    assert checkpointed.layers == 3 * 50 * (one + 2 * 4 * HIDDEN)
    copied = matrix_weights(model.backbone.model.language_model.layers[0])
    assert kept.weight_copies - checkpointed.weight_copies == 2 * copied
    assert kept.head == checkpointed.head
    assert kept.masks == checkpointed.masks


def test_checkpointed_layers_keep_their_inputs_alone() -> None:
    """The other part of the estimate, one layer, is there in the backward."""
    model = CASES["adapters"]().train()
    set_trainable(model, [TrainablePart.lora], TrainableTokens.new_rows)
    recompute_layers(model.backbone)
    num_layers = len(model.backbone.model.language_model.layers)
    inputs = FP32 * HIDDEN * (num_layers + 1)  # the final norm has one too
    kept = kept_by_autograd(model, lambda: run_language_model(model))
    assert ROWS * LENGTH * inputs == pytest.approx(kept, rel=0.1)


@pytest.mark.parametrize("in_bf16", [True, False], ids=["bf16", "fp32"])
def test_copies_that_autocast_makes(in_bf16: bool) -> None:
    """Of frozen weights that are kept in bf16 none; LoRA's own are the rest of the estimate."""
    model = CASES["adapters"]().train()
    set_trainable(model, [TrainablePart.lora], TrainableTokens.new_rows)
    if in_bf16:
        keep_frozen_in_bf16(model)
    parts = (model.backbone.model.language_model.layers, model.backbone.lm_head)
    weights = [each for part in parts for each in part.parameters()]
    frozen = [each for each in weights if not each.requires_grad]
    saved = copies_of(frozen, lambda: model.next_logits(run_language_model(model)))
    estimate = activation_memory(
        model, PlanAssumptions(), **SIZES, checkpointing=False
    ).weight_copies
    lora = sum(each.numel() for name, each in model.named_parameters() if "lora_" in name)
    assert saved == estimate - 2 * lora
    assert (saved == 0) == in_bf16


def copies_of(weights: Iterable[Tensor], run: Callable[[], Tensor]) -> int:
    """Bytes of what a forward in bf16 saves that has a weight's shape and is none."""
    weights = list(weights)
    own = {each.untyped_storage().data_ptr() for each in weights}
    shapes = {each.shape for each in weights} | {each.T.shape for each in weights if each.ndim == 2}
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own and tensor.shape in shapes and tensor.dtype is torch.bfloat16:
            saved.setdefault(place, tensor)
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        run()
    return sum(each.untyped_storage().nbytes() for each in saved.values())


@pytest.mark.parametrize("mixed", [True, False], ids=["bf16", "fp32"])
def test_positions_of_sam(mixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[Tensor] = []
    attention = functional.scaled_dot_product_attention

    def noted(*inputs: Tensor, attn_mask: Tensor) -> Tensor:
        added.append(attn_mask)
        return attention(*inputs, attn_mask=attn_mask)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", noted)
    model = SamModel(tiny_segmenter_config())
    encode_nothing(model, mixed=mixed)
    assert encoding_bytes(model.vision_encoder, mixed=mixed) == added[0].nbytes


@pytest.mark.parametrize("mixed", [True, False], ids=["bf16", "fp32"])
def test_first_stage_of_sam2(mixed: bool) -> None:
    """What is inside an MLP, before and after the GELU."""
    inside: list[Tensor] = []
    model = Sam2Model(tiny_sam2_config())
    first = model.vision_encoder.backbone.blocks[0].mlp.proj_in
    first.register_forward_hook(lambda module, inputs, made: inside.append(made))
    encode_nothing(model, mixed=mixed)
    assert encoding_bytes(model.vision_encoder, mixed=mixed) == 2 * inside[0].nbytes


def encode_nothing(segmenter: SamModel | Sam2Model, *, mixed: bool) -> None:
    """One empty image, as training encodes."""
    kind = segmenter_kind(segmenter.config)
    pixels = torch.zeros(1, 3, *2 * [kind.size(segmenter.config)])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        kind.encode(segmenter, pixels)
