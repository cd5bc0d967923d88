import pytest

from pixsearch.training.order import BatchOrder, micro_batches


def length(index: int) -> int:
    return index * 37 % 101


def order(window: int, *, seed: int = 0, together: int = 4) -> BatchOrder:
    return BatchOrder(global_batch=4, together=together, window=window, seed=seed, length=length)


def spread(indices: list[int]) -> int:
    lengths = [length(index) for index in indices]
    return max(lengths) - min(lengths)


def test_without_grouping_batches_follow_the_mixture() -> None:
    assert [order(1).indices(step) for step in (0, 2)] == [[0, 1, 2, 3], [8, 9, 10, 11]]


def test_a_window_holds_the_same_examples_however_they_are_grouped() -> None:
    grouped = [index for step in range(8, 16) for index in order(8).indices(step)]
    assert sorted(grouped) == list(range(32, 64))


def test_grouping_brings_like_lengths_together_and_is_the_same_from_any_step() -> None:
    whole = [order(8).indices(step) for step in range(20)]
    assert [order(8).indices(step) for step in (13, 5)] == [whole[13], whole[5]]
    assert max(spread(batch) for batch in whole[:8]) < 30


def test_micro_batches_are_of_like_length_and_batches_are_not() -> None:
    batches = [order(8, together=2).indices(step) for step in range(8)]
    pairs = [pair for batch in batches for pair in (batch[:2], batch[2:])]
    assert max(map(spread, pairs)) < 20
    assert max(map(spread, batches)) > 40


def test_batches_of_a_window_come_in_an_order_of_the_seed() -> None:
    assert order(8, seed=0).indices(0) != order(8, seed=1).indices(0)


@pytest.mark.parametrize(("batch_size", "num_processes"), [(1, 1), (2, 2), (4, 2), (1, 4)])
def test_processes_share_a_global_batch(batch_size: int, num_processes: int) -> None:
    indices = list(range(8))
    shares = [
        micro_batches(indices, batch_size=batch_size, rank=rank, num_processes=num_processes)
        for rank in range(num_processes)
    ]
    assert sorted(i for share in shares for batch in share for i in batch) == indices
    assert {len(share) for share in shares} == {8 // (batch_size * num_processes)}


def test_the_examples_of_an_image_meet_in_a_micro_batch() -> None:
    images = dict(enumerate(["a", "b", None, "a", "c", "b", None, "a"]))
    order = BatchOrder(
        global_batch=8, together=4, window=1, seed=0, length=lambda index: 0, image=images.get
    )
    assert order.indices(0) == [0, 3, 7, 1, 5, 2, 4, 6]
