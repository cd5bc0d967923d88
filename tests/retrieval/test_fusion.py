from pixsearch.config import FusionOptions
from pixsearch.retrieval.fusion import HybridIndex, fused
from pixsearch.retrieval.hits import Hit


def hits(*rows):
    return [Hit(row, 1.0 - 0.1 * place) for place, row in enumerate(rows)]


def rows(found):
    return [hit.row for hit in found]


def test_what_both_rankings_have_comes_first():
    assert rows(fused([hits(1, 2, 3), hits(4, 3, 5)], 5, constant=60)) == [3, 1, 4, 2, 5]


def test_scores_of_the_rankings_play_no_part():
    scaled = [Hit(hit.row, 1000 * hit.score) for hit in hits(4, 3, 5)]
    assert fused([hits(1, 2, 3), scaled], 5, constant=60) == fused(
        [hits(1, 2, 3), hits(4, 3, 5)], 5, constant=60
    )


def test_equal_ones_come_in_the_order_of_the_knowledge_base():
    assert rows(fused([hits(9, 2), hits(2, 9)], 2, constant=60)) == [2, 9]
    assert rows(fused([hits(9, 2), hits(2, 9)], 1, constant=60)) == [2]


def test_sums_that_are_nearly_equal_are_not_taken_for_equal():
    """Ranks 3 and 21 give two hundred-millionths less than 8 and 14."""

    def ranking(places, others):
        return hits(*(places.get(rank, others + rank) for rank in range(1, 22)))

    rankings = [ranking({3: 1, 8: 2}, 1000), ranking({21: 1, 14: 2}, 2000)]
    assert rows(fused(rankings, 2, constant=10_000)) == [2, 1]


def test_the_order_of_the_rankings_does_not_matter():
    rankings = [hits(3, 1, 2), hits(2, 3, 1), hits(1, 2, 3)]
    assert rows(fused(rankings, 3, constant=60)) == [1, 2, 3]


def test_a_small_constant_favours_first_places():
    first_and_last, twice_third = hits(1, 8, 3), hits(5, 6, 3)
    assert rows(fused([first_and_last, twice_third], 1, constant=60)) == [3]
    assert rows(fused([first_and_last, twice_third], 1, constant=1)) == [1]


def test_nothing_found_in_one_or_both():
    assert rows(fused([hits(3, 1), []], 2, constant=60)) == [3, 1]
    assert fused([[], []], 2, constant=60) == []


class Fixed:
    """An index that finds the same whatever it is asked."""

    def __init__(self, *rows):
        self.rows = rows
        self.asked = []

    def search(self, queries, k):
        self.asked.append(k)
        return [hits(*self.rows[:k]) for _ in queries]

    def scores(self, queries, rows):
        raise NotImplementedError


def test_each_ranking_gives_its_candidates_not_k():
    """The best of both is in the third place of each."""
    dense, words = Fixed(1, 2, 3), Fixed(4, 5, 3)
    index = HybridIndex(dense=dense, words=words, options=FusionOptions(candidates=3))
    assert rows(index.search(["a"], 1)[0]) == [3]
    assert len(index.search(["a"], 4)[0]) == 4
    assert dense.asked == words.asked == [3, 4]
