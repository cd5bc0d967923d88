import pytest
import torch
from transformers import LlamaConfig, LlamaModel, MistralConfig

from pixsearch.generation.cache import SlotCache, check_attention

TOLERANCE = 1e-5  # fp32; the worst seen is 1e-6


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def language_model(request: pytest.FixtureRequest) -> LlamaModel:
    """Grouped-query attention, four heads on two."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_implementation=request.param,
    )
    return LlamaModel(config).eval()


@torch.no_grad()
def process(
    model: LlamaModel, cache: SlotCache, embeddings: dict[int, torch.Tensor], starts: dict[int, int]
) -> dict[int, torch.Tensor]:
    """Bring pieces of rows, by slot, in one forward; the states of each."""
    lengths = [len(piece) for piece in embeddings.values()]
    padded = torch.nn.utils.rnn.pad_sequence(list(embeddings.values()), batch_first=True)
    positions, mask = cache.plan(
        slots=list(embeddings), starts=[starts[slot] for slot in embeddings], lengths=lengths
    )
    states = model(
        inputs_embeds=padded,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return {slot: states[i, : lengths[i]] for i, slot in enumerate(embeddings)}


@torch.no_grad()
def from_scratch(model: LlamaModel, row: torch.Tensor) -> torch.Tensor:
    return model(inputs_embeds=row[None]).last_hidden_state[0]


def test_rows_in_pieces_equal_rows_from_scratch(language_model: LlamaModel) -> None:
    rows = {slot: torch.randn(length, 32) for slot, length in enumerate((20, 13, 17))}
    cache = SlotCache(num_slots=4, capacity=20)
    cuts = [{0: 4, 1: 9}, {2: 11}, {0: 1, 1: 1, 2: 1}, {0: 10, 2: 2}, {0: 5, 1: 3, 2: 3}]
    done = dict.fromkeys(rows, 0)
    states = {slot: [] for slot in rows}
    for cut in cuts:
        pieces = {slot: rows[slot][done[slot] : done[slot] + n] for slot, n in cut.items()}
        for slot, new in process(language_model, cache, pieces, done).items():
            states[slot].append(new)
            done[slot] += len(new)
    for slot, row in rows.items():
        whole = from_scratch(language_model, row)
        assert torch.allclose(torch.cat(states[slot]), whole, atol=TOLERANCE)


def test_a_resting_row_is_left_as_it_was(language_model: LlamaModel) -> None:
    row, other = torch.randn(8, 32), torch.randn(6, 32)
    cache = SlotCache(num_slots=2, capacity=8)
    process(language_model, cache, {0: row[:5], 1: other[:4]}, {0: 0, 1: 0})
    with torch.no_grad():
        positions, mask = cache.plan(slots=[0, 1], starts=[5, 4], lengths=[0, 1])
        language_model(
            inputs_embeds=torch.stack([torch.randn(1, 32), other[4:5]]),
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
        )
    states = process(language_model, cache, {0: row[5:]}, {0: 5})[0]
    assert torch.allclose(states, from_scratch(language_model, row)[5:], atol=TOLERANCE)


def test_a_row_can_move_to_another_slot(language_model: LlamaModel) -> None:
    row = torch.randn(9, 32)
    cache = SlotCache(num_slots=3, capacity=9)
    process(language_model, cache, {2: row[:6]}, {2: 0})
    cache.move(source=2, target=0, length=6)
    states = process(language_model, cache, {0: row[6:]}, {0: 6})[0]
    assert torch.allclose(states, from_scratch(language_model, row)[6:], atol=TOLERANCE)


def test_nothing_of_a_cleared_row_reaches_the_next(language_model: LlamaModel) -> None:
    row = torch.randn(3, 32)
    cache = SlotCache(num_slots=2, capacity=12)
    process(
        language_model,
        cache,
        {0: torch.full((10, 32), torch.nan), 1: torch.randn(12, 32)},
        {0: 0, 1: 0},
    )
    cache.clear(0, length=10)
    states = process(language_model, cache, {0: row, 1: torch.randn(0, 32)}, {0: 0, 1: 12})[0]
    assert torch.allclose(states, from_scratch(language_model, row), atol=TOLERANCE)


def test_a_model_with_a_window_is_an_error() -> None:
    check_attention(LlamaConfig(attn_implementation="sdpa"))
    with pytest.raises(
        ValueError, match=r"attends by flex_attention, .* attn_implementation='sdpa'"
    ):
        check_attention(LlamaConfig(attn_implementation="flex_attention"))
    with pytest.raises(ValueError, match="sliding_window=16"):
        check_attention(MistralConfig(sliding_window=16, attn_implementation="sdpa"))
