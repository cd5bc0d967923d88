"""Slots stay within their budget; where they are short the youngest row gives its own back."""

import random
import threading
from collections.abc import Sequence

import psutil
import pytest
import torch

from pixsearch.config import GenerationOptions, PolicyOptions
from pixsearch.generation import Engine, EngineStats, Request
from pixsearch.generation import cache_budget as budgets
from pixsearch.generation.grammar import GrammarState, Limits
from pixsearch.generation.row import Row
from pixsearch.generation.slots import Slots
from pixsearch.model import PixSearch
from pixsearch.rendering import Rendered, TokenKind
from tests.generation.scripted import QUESTION, RecordingSearch, Scripted, gib_of, ids_of, picture

LIMITS = Limits(
    types=frozenset(),
    can_ground=False,
    max_searches=0,
    query_tokens=1,
    evidence_tokens=0,
    max_new_tokens=100,
    answer_tokens=1,
    max_length=100,
)


def make_row(entered: int, *, length: int = 10, longest: int = 10) -> Row:
    row = Row(
        request=Request(id=str(entered), question=QUESTION),
        rendered=Rendered(),
        limits=LIMITS,
        state=GrammarState(),
        longest=longest,
        entered=entered,
    )
    grow(row, length)
    return row


def grow(row: Row, length: int) -> None:
    row.rendered.extend([0] * length, TokenKind.GENERATED)


def make_slots(*, max_slots: int, budget: int = 1000) -> Slots:
    return Slots(max_slots=max_slots, budget=budget, stats=EngineStats(), in_one_call=False)


def assert_sound(slots: Slots, rows: Sequence[Row], budget: int) -> None:
    holders = [row for row in rows if row.slot is not None]
    assert slots.num_held == len(holders)
    assert slots.cache.num_slots * slots.cache.width <= budget
    assert len({row.slot for row in holders}) == len(holders)
    for row in holders:
        assert row.slot < slots.cache.num_slots
        assert len(row.rendered) <= slots.cache.width


@pytest.mark.parametrize("seed", range(20))
def test_rows_that_come_grow_and_go_stay_within_the_budget(seed: int) -> None:
    draw = random.Random(seed)
    budget = draw.randint(60, 300)
    slots = make_slots(max_slots=6, budget=budget)
    rows: list[Row] = []
    evictions = 0
    for step in range(150):
        if len(rows) < 8:
            longest = draw.randint(1, 60)
            rows.append(make_row(step, length=draw.randint(1, longest), longest=longest))
        asked = [row for row in rows if draw.random() < 0.8]
        held = [row for row in rows if row.slot is not None]
        placed = slots.place(asked)
        assert_sound(slots, rows, budget)
        lost = [row for row in held if row.slot is None]
        evictions += len(lost)
        kept = [row.entered for row in rows if row.slot is not None]
        assert all(row.entered > max(kept) for row in lost)
        assert rows[0] in placed or rows[0] not in asked
        for row in placed:
            row.num_processed = len(row.rendered)
            grow(row, draw.randint(0, row.longest - len(row.rendered)))
        for row in rows[:]:
            if len(row.rendered) == row.longest and draw.random() < 0.3:
                slots.release(row)
                rows.remove(row)
    assert evictions == slots._stats.evictions > 0


def test_who_waits_long_gives_way_before_the_youngest() -> None:
    first, second, third = rows = [make_row(entered) for entered in range(3)]
    slots = make_slots(max_slots=2)
    assert slots.place([first, second]) == [first, second]
    first.num_processed = 10
    assert slots.place([second, third]) == [second]  # who entered last has none
    assert slots.place([second, third], yielding={first}) == [second, third]
    assert [row.slot is None for row in rows] == [True, False, False]
    assert first.num_processed == 0
    assert slots.place([second, third], yielding={first}) == [second, third]
    assert slots._stats.evictions == 1


def test_who_waits_long_keeps_a_slot_that_nobody_lacks() -> None:
    first, second = make_row(0), make_row(1)
    slots = make_slots(max_slots=2)
    slots.place([first])
    slots.place([second], yielding={first})
    assert first.slot is not None


def test_keys_and_values_take_no_more_than_cache_gib(model: PixSearch) -> None:
    names = [str(number) for number in range(5)]
    script = ids_of(model, "A cup", ":seg", ":search", "cup", ":search_end", "It is the Velmora.")
    engine = Engine(
        model,
        RecordingSearch(),
        PolicyOptions(evidence_tokens=60),
        GenerationOptions(max_length=200, cache_gib=gib_of(model, 250)),
        choose=Scripted(dict.fromkeys(names, script)),
    )
    most = 0
    with engine.session(threading.Event(), tells_all=False) as session:
        for name in names:
            session.add(engine.open(Request(id=name, question=QUESTION, image=picture())))
        while not session.is_idle:
            session.round()
            layers = session._parts.slots.cache.layers
            most = max(most, sum(layer.keys.nbytes + layer.values.nbytes for layer in layers))
    assert 0 < most <= gib_of(model, 250) * 2**30
    assert engine.stats.evictions > 0
    assert engine.stats.failures == 0


def test_by_default_the_cache_has_a_share_of_what_is_free(
    model: PixSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = gib_of(model, 1000) * 2**30
    monkeypatch.setattr(budgets, "free_bytes", lambda device: int(free))
    engine = Engine(model, RecordingSearch(), PolicyOptions(), GenerationOptions())
    with pytest.raises(ValueError, match=r"cache_gib=60% of the free memory holds 600: raise it"):
        engine.open(Request(id="1", question=QUESTION))


def test_what_is_free_is_asked_where_the_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < budgets.free_bytes(torch.device("cpu")) < psutil.virtual_memory().total
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 8000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    assert budgets.free_bytes(torch.device("cuda", 0)) == 1300  # 300 of torch's are not in use
