"""Rows that go through a model in one line, piece by piece, have their states from scratch."""

import pytest
import torch
from transformers import LlamaConfig, LlamaModel, MistralConfig

from pixsearch.generation.cache import SlotCache, check_attention
from pixsearch.generation.slot_attention import plan_line, slot_attention

TOLERANCE = 1e-5  # fp32; the worst seen is 1e-6
CUTS = [{0: 4, 1: 9}, {2: 11}, {0: 1, 1: 1, 2: 1}, {0: 1, 2: 2}, {1: 1, 0: 14, 2: 3}, {1: 2}]


@pytest.fixture(scope="module", params=[2, 4])
def language_model(request: pytest.FixtureRequest) -> LlamaModel:
    """Four heads, on two or four of keys and values."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=request.param,
    )
    return LlamaModel(config).eval()


@torch.no_grad()
def process(
    model: LlamaModel,
    cache: SlotCache,
    pieces: dict[int, torch.Tensor],
    starts: dict[int, int],
) -> dict[int, torch.Tensor]:
    """Bring pieces of rows, by slot, in one forward; the states of each."""
    slots = sorted(pieces, key=lambda slot: len(pieces[slot]) > 1)
    lengths = [len(pieces[slot]) for slot in slots]
    plan = plan_line(
        slots=slots,
        starts=[starts[slot] for slot in slots],
        lengths=lengths,
        num_slots=cache.num_slots,
        width=cache.width,
        in_one_call=cache.in_one_call,
    )
    cache.follow(plan)
    positions = [torch.arange(starts[slot], starts[slot] + len(pieces[slot])) for slot in slots]
    with slot_attention(model.config):
        states = model(
            inputs_embeds=torch.cat([pieces[slot] for slot in slots])[None],
            position_ids=torch.cat(positions)[None],
            past_key_values=cache,
            use_cache=True,
            slot_plan=plan,
        ).last_hidden_state[0]
    return dict(zip(slots, states.split(lengths), strict=True))


@torch.no_grad()
def from_scratch(model: LlamaModel, row: torch.Tensor) -> torch.Tensor:
    return model(inputs_embeds=row[None]).last_hidden_state[0]


@pytest.mark.parametrize("in_one_call", [False, True])
def test_rows_in_pieces_equal_rows_from_scratch(
    language_model: LlamaModel, in_one_call: bool
) -> None:
    """Single tokens and pieces in one line; in the middle of it the memory changes its shape."""
    rows = {slot: torch.randn(length, 32) for slot, length in enumerate((20, 13, 17))}
    cache = SlotCache(num_slots=4, width=14, in_one_call=in_one_call)
    done = dict.fromkeys(rows, 0)
    states = {slot: [] for slot in rows}
    for index, cut in enumerate(CUTS):
        if index == 4:
            moves = {slot: (slot, length) for slot, length in done.items()}
            cache.reshape(num_slots=3, width=20, moves=moves)
        pieces = {slot: rows[slot][done[slot] : done[slot] + n] for slot, n in cut.items()}
        found = process(language_model, cache, pieces, done)
        for slot, new in found.items():
            states[slot].append(new)
            done[slot] += len(new)
    assert done == {0: 20, 1: 13, 2: 17}
    for slot, row in rows.items():
        whole = from_scratch(language_model, row)
        assert torch.allclose(torch.cat(states[slot]), whole, atol=TOLERANCE)


def test_a_row_can_move_to_another_slot(language_model: LlamaModel) -> None:
    row = torch.randn(9, 32)
    cache = SlotCache(num_slots=3, width=9)
    process(language_model, cache, {2: row[:6]}, {2: 0})
    cache.reshape(num_slots=1, width=10, moves={2: (0, 6)})
    states = process(language_model, cache, {0: row[6:]}, {0: 6})[0]
    assert torch.allclose(states, from_scratch(language_model, row)[6:], atol=TOLERANCE)


def test_nothing_of_a_cleared_row_reaches_the_next(language_model: LlamaModel) -> None:
    row, other = torch.randn(3, 32), torch.randn(12, 32)
    cache = SlotCache(num_slots=2, width=12, in_one_call=True)
    nan = torch.full((10, 32), torch.nan)
    found = process(language_model, cache, {0: nan, 1: other[:11]}, {0: 0, 1: 0})
    assert torch.allclose(found[1], from_scratch(language_model, other)[:11], atol=TOLERANCE)
    cache.clear(0)
    process(language_model, cache, {0: row[:2]}, {0: 0})
    last = {0: row[2:], 1: other[11:]}
    states = process(language_model, cache, last, {0: 2, 1: 11})
    assert torch.allclose(states[0], from_scratch(language_model, row)[2:], atol=TOLERANCE)


def test_the_model_attends_as_before_afterwards(language_model: LlamaModel) -> None:
    before = language_model.config._attn_implementation
    with slot_attention(language_model.config):
        assert language_model.config._attn_implementation != before
    assert language_model.config._attn_implementation == before


def test_a_model_with_a_window_is_an_error() -> None:
    check_attention(LlamaConfig())
    with pytest.raises(ValueError, match="sliding_window=16"):
        check_attention(MistralConfig(sliding_window=16))
