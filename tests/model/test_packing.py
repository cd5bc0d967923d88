"""Packed rows hold every token once, and give the states of the padded ones."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from pixsearch.config import Attention, LossOptions
from pixsearch.model.attention import attending
from pixsearch.model.packing import (
    PADDING,
    SHARED,
    Packing,
    common_beginning,
    pack,
    pack_apart,
)
from tests.families import ALL_FAMILIES, family_model
from tests.model.examples import batch
from tests.tiny import tiny_model

TOLERANCE = 1e-5  # fp32


def packed(inputs: dict[str, torch.Tensor], capacity: int = 4096) -> Packing:
    is_token = inputs["span_tags"] != -100
    lengths = is_token.sum(dim=1).tolist()
    return pack(inputs["input_ids"], lengths, inputs["image_index"].tolist(), capacity=capacity)


@pytest.mark.parametrize("capacity", [1, 60, 4096])
@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_packed_states_equal_padded_ones(family: str, capacity: int) -> None:
    model = family_model(family)
    inputs = batch(model, (0, 1, 2, 3, 0, 2))
    packing = packed(inputs, capacity)
    plain, ours = model(**inputs), model(**inputs, packing=packing)
    torch.testing.assert_close(ours.logits, plain.logits, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(ours.mask_logits, plain.mask_logits, atol=TOLERANCE, rtol=1e-5)
    if capacity > 60:
        assert packing.num_tokens < inputs["input_ids"].numel()


def test_gradients_are_those_of_the_padded_batch() -> None:
    model = tiny_model(lora_rank=2)
    inputs = batch(model, (0, 1, 2, 3, 2))
    gradients = []
    for packing in (None, packed(inputs)):
        model.zero_grad()
        model(**inputs, packing=packing).losses.total(LossOptions()).backward()
        gradients.append(
            {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-4, msg=name)


CONVERSATIONS = st.lists(
    st.tuples(st.integers(-1, 2), st.lists(st.integers(0, 3), min_size=1, max_size=9)),
    min_size=1,
    max_size=7,
)


@settings(max_examples=200, deadline=None)
@given(conversations=CONVERSATIONS, capacity=st.integers(1, 40))
def test_every_token_has_one_place_and_sees_its_own_conversation(
    conversations: list[tuple[int, list[int]]], capacity: int
) -> None:
    """A token's neighbours are exactly those before it in its own conversation."""
    lengths = [len(ids) for _, ids in conversations]
    input_ids = torch.zeros(len(conversations), max(lengths), dtype=torch.long)
    for row, (_, ids) in enumerate(conversations):
        input_ids[row, : len(ids)] = torch.tensor(ids)
    packing = pack(input_ids, lengths, [image for image, _ in conversations], capacity=capacity)
    flat = packing.source.flatten()
    seen = packing.mask(torch.float32)[:, 0] == 0
    length, packed_length = input_ids.shape[1], packing.source.shape[1]
    for row, (_, ids) in enumerate(conversations):
        for column, token in enumerate(ids):
            place = int(packing.place[row, column])
            packed_row, cell = divmod(place, packed_length)
            source_row, source_column = divmod(int(flat[place]), length)
            assert source_column == column
            assert int(packing.column[packed_row, cell]) == column
            assert conversations[source_row][1][: column + 1] == ids[: column + 1]
            assert input_ids[source_row, source_column] == token
            before = [int(packing.place[row, other]) % packed_length for other in range(column + 1)]
            assert seen[packed_row, cell].nonzero()[:, 0].tolist() == sorted(before)
    assert (flat != PADDING).sum() <= sum(lengths)
    assert packed_length <= max(capacity, *lengths)


def test_what_is_shared_is_processed_once() -> None:
    ids = [[1, 1, 1, 5, 6], [1, 1, 1, 7], [1, 1, 1, 8, 9, 9]]
    input_ids = torch.zeros(3, 6, dtype=torch.long)
    for row, one in enumerate(ids):
        input_ids[row, : len(one)] = torch.tensor(one)
    together = pack(input_ids, [5, 4, 6], [0, 0, 0], capacity=100)
    assert together.num_tokens == 3 + 2 + 1 + 3
    assert (together.conversation == SHARED).sum() == 3
    apart = pack(input_ids, [5, 4, 6], [0, 1, 2], capacity=100)
    assert (apart.conversation == SHARED).sum() == 0
    assert (apart.source != PADDING).sum() == 15


def test_a_common_beginning_may_be_all_of_a_conversation() -> None:
    assert common_beginning([[1, 2], [1, 2]]) == 2
    input_ids = torch.tensor([[1, 2], [1, 2]])
    packing = pack(input_ids, [2, 2], [0, 0], capacity=10)
    assert packing.num_tokens == 2
    assert torch.equal(packing.place[0], packing.place[1])


def attend_by_segments(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    cu_seq_lens_q: torch.Tensor,
    cu_seq_lens_k: torch.Tensor,
    max_length_q: int,
    max_length_k: int,
    scaling: float | None = None,
    **others: object,
) -> tuple[torch.Tensor, None]:
    """What flash attention's kernel computes, which no CPU has: each segment by itself."""
    assert attention_mask is None
    assert len(query) == 1
    assert torch.equal(cu_seq_lens_q, cu_seq_lens_k)
    lengths = cu_seq_lens_q.diff().tolist()
    assert max_length_q == max_length_k == max(lengths)
    attended = [
        torch.nn.functional.scaled_dot_product_attention(
            *parts, is_causal=True, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
        )
        for parts in zip(*(each.split(lengths, dim=2) for each in (query, key, value)), strict=True)
    ]
    return torch.cat(attended, dim=2).transpose(1, 2), None


@pytest.fixture
def flash_attention_in_plain_torch() -> Iterator[None]:
    ALL_ATTENTION_FUNCTIONS["flash_attention_2"] = attend_by_segments
    yield
    del ALL_ATTENTION_FUNCTIONS["flash_attention_2"]


@pytest.mark.usefixtures("flash_attention_in_plain_torch")
@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_flash_attention_is_told_where_conversations_end(family: str) -> None:
    """Its kernel is another here, the way to it is transformers' and ours."""
    model = family_model(family)
    inputs = batch(model, (0, 1, 2, 3, 0, 2))
    lengths = (inputs["span_tags"] != -100).sum(dim=1).tolist()
    packing = pack_apart(inputs["input_ids"], lengths)
    assert packing.source.shape == (1, sum(lengths))
    plain, masked = model(**inputs), model(**inputs, packing=packing)
    config = model.backbone.model.language_model.config
    before, config._attn_implementation = config._attn_implementation, "flash_attention_2"
    flash = model(**inputs, packing=packing)
    config._attn_implementation = before
    for found in (masked, flash):
        torch.testing.assert_close(found.logits, plain.logits, atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(found.mask_logits, plain.mask_logits, atol=TOLERANCE, rtol=1e-5)


@pytest.mark.slow  # it compiles
@pytest.mark.filterwarnings("ignore:Dynamo does not know")
@torch.no_grad()
def test_flex_attention_sees_the_same() -> None:
    """Its forward alone: it has no backward on a CPU."""
    model = tiny_model()
    inputs = batch(model)
    packing = packed(inputs)
    expected = model(**inputs, packing=packing).logits
    with attending(model, Attention.flex_attention):
        found = model(**inputs, packing=packing).logits
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)
