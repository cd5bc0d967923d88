import pickle
from collections import Counter
from fractions import Fraction
from itertools import groupby, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from pixsearch.chat import Conversation
from pixsearch.datasets.example import Example
from pixsearch.datasets.mixture import Mixture, block_quotas, rank_indices
from tests.datasets.builders import briefly


def examples(name: str, count: int) -> list[Example]:
    question = Conversation.question("?", has_image=False)
    return [Example(id=f"{name}{row}", conversation=question) for row in range(count)]


def mixture(*, seed: int = 0, **sizes: int) -> Mixture:
    """Datasets of the given sizes, the first with weight 7, the second 9, all others 1."""
    weights = dict(zip(sizes, (7.0, 9.0, 1.0, 1.0, 1.0), strict=False))
    return Mixture({name: examples(name, size) for name, size in sizes.items()}, weights, seed=seed)


def ids(mixture: Mixture, count: int, start: int = 0) -> list[str]:
    return [mixture[index].id for index in range(start, start + count)]


@briefly
@given(
    weights=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 30), min_size=4, max_size=4),
    seed=st.integers(0, 2**32),
    blocks=st.integers(1, 6),
)
def test_shares_of_samples_drawn_are_the_weights(
    weights: list[int], sizes: list[int], seed: int, blocks: int
) -> None:
    datasets = {str(name): examples(str(name), sizes[name]) for name in range(len(weights))}
    named = {str(name): float(weight) for name, weight in enumerate(weights)}
    block = sum(block_quotas(named).values())
    mixed = Mixture(datasets, named, seed=seed)
    counts = Counter(mixed.locate(index).dataset for index in range(block * blocks))
    for name, weight in named.items():
        assert Fraction(counts[name], block * blocks) == Fraction(int(weight), sum(weights))


@briefly
@given(sizes=st.tuples(st.integers(1, 12), st.integers(1, 12)), seed=st.integers(0, 99))
def test_every_pass_is_a_permutation_of_the_dataset(sizes: tuple[int, int], seed: int) -> None:
    mixed = mixture(seed=seed, a=sizes[0], b=sizes[1])
    rows: dict[tuple[str, int], list[int]] = {}
    for index in range(16 * 8):
        draw = mixed.locate(index)
        rows.setdefault((draw.dataset, draw.through), []).append(draw.row)
    for (name, through), found in rows.items():
        length = sizes["ab".index(name)]
        assert len(found) == len(set(found))
        if (name, through + 1) in rows:
            assert sorted(found) == list(range(length))


def test_passes_differ_from_each_other_and_between_seeds() -> None:
    mixed = mixture(a=50)
    first, second = ids(mixed, 50), ids(mixed, 50, start=50)
    assert sorted(first) == sorted(second)
    assert first != second
    assert first != ids(mixture(seed=1, a=50), 50)


@briefly
@given(start=st.integers(0, 10**12), seed=st.integers(0, 5))
def test_any_place_is_reached_without_the_places_before(start: int, seed: int) -> None:
    jumped = mixture(seed=seed, a=5, b=7)
    walked = mixture(seed=seed, a=5, b=7)
    ids(walked, 20)
    assert ids(jumped, 20, start=start) == ids(walked, 20, start=start)


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
def test_processes_share_the_order_of_one(num_ranks: int) -> None:
    mixed = mixture(a=5, b=7)
    by_rank = [
        [mixed[index].id for index in islice(rank_indices(16, rank=rank, num_ranks=num_ranks), 6)]
        for rank in range(num_ranks)
    ]
    together = [example for step in zip(*by_rank, strict=True) for example in step]
    assert together == ids(mixed, 6 * num_ranks, start=16)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_do_not_change_the_order(num_workers: int) -> None:
    mixed = mixture(a=5, b=7)
    loader = DataLoader(
        mixed,  # type: ignore[arg-type]
        batch_size=3,
        sampler=rank_indices(4, rank=1, num_ranks=2),
        num_workers=num_workers,
        collate_fn=lambda batch: [example.id for example in batch],
    )
    drawn = [example for batch in islice(loader, 4) for example in batch]
    assert drawn == [mixed[index].id for index in range(5, 5 + 24, 2)]


def test_another_dataset_does_not_change_the_order_within_the_first() -> None:
    alone = ids(mixture(a=9), 9)
    among = [id for id in ids(mixture(a=9, b=4, c=3), 60) if id.startswith("a")][:9]
    assert alone == among


def test_a_mixture_crosses_into_spawned_processes() -> None:
    mixed = mixture(a=5, b=7)
    assert ids(pickle.loads(pickle.dumps(mixed)), 20) == ids(mixed, 20)


class Disturbed(Mixture):
    """Another thread always draws from block 99 in between."""

    @property
    def _last_block(self) -> tuple:
        return 99, np.zeros(16, dtype=np.int64)

    @_last_block.setter
    def _last_block(self, block: tuple | None) -> None:
        pass


def test_threads_do_not_draw_from_each_others_blocks() -> None:
    datasets = {"a": examples("a", 5), "b": examples("b", 7)}
    weights = {"a": 7.0, "b": 9.0}
    disturbed, alone = (kind(datasets, weights, seed=1) for kind in (Disturbed, Mixture))
    assert ids(disturbed, 40) == ids(alone, 40)


def test_quotas() -> None:
    assert block_quotas({"a": 7.0, "b": 9.0}) == {"a": 7, "b": 9}
    assert block_quotas({"a": 0.5, "b": 0.5, "c": 0.0}) == {"a": 1, "b": 1, "c": 0}
    assert block_quotas({"a": 1.0, "b": 1e-9}) == {"a": 9_999, "b": 1}
    assert block_quotas({"llava": 665_298.0, "own": 30.0}) == {"llava": 9_999, "own": 1}


@briefly
@given(weights=st.lists(st.floats(0.001, 1e6), min_size=1, max_size=8))
def test_quotas_are_near_the_shares(weights: list[float]) -> None:
    quotas = block_quotas({str(place): weight for place, weight in enumerate(weights)})
    length = sum(quotas.values())
    assert length <= 10_000
    assert min(quotas.values()) >= 1
    raised = sum(length * weight < sum(weights) for weight in weights)  # to one sample
    for place, weight in enumerate(weights):
        off = abs(quotas[str(place)] - length * weight / sum(weights))
        assert off < 1 + raised + 1e-6


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({"a": -1.0}, "weight of 'a' is -1"),
        ({"a": float("nan")}, "weight of 'a' is nan"),
        ({"x": 1.0}, "no dataset 'x' is configured; there are: a, empty"),
        ({"empty": 1.0}, "dataset 'empty' is empty"),
        ({"a": 0.0}, "no dataset has a weight above 0"),
    ],
)
def test_impossible_mixtures_are_refused(weights: dict[str, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Mixture({"a": examples("a", 2), "empty": []}, weights, seed=0)


def test_a_mixture_has_no_last_sample() -> None:
    with pytest.raises(IndexError, match="-1 is negative"):
        mixture(a=2)[-1]


@briefly
@given(
    images=st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=12),
    seed=st.integers(0, 2**32),
)
def test_by_image_the_examples_of_one_stand_together(images: list[str | None], seed: int) -> None:
    conversation = Conversation.question("?", has_image=False)
    dataset = [
        Example(id=str(row), conversation=conversation, image_id=image)
        for row, image in enumerate(images)
    ]
    mixed = Mixture({"one": dataset}, {"one": 1.0}, seed=seed, by_image=True)
    for start in (0, len(dataset)):
        drawn = [mixed[start + place] for place in range(len(dataset))]
        assert sorted(each.id for each in drawn) == sorted(each.id for each in dataset)
        seen = [each.image_id for each in drawn if each.image_id is not None]
        assert len([key for key, _ in groupby(seen)]) == len(set(seen))
