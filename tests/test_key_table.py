import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixsearch import key_table
from pixsearch.key_table import NOT_THERE, KeyTable, key_hash
from tests.datasets.builders import briefly

KEYS = st.sampled_from(["a", "b", "c", "é", "\ud800", ""])


@briefly
@given(puts=st.lists(st.tuples(KEYS, st.integers(0, 2**62)), max_size=20), most=st.integers(1, 4))
def test_it_is_a_dictionary(puts: list[tuple[str, int]], most: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(key_table, "_MOST_RECENT", most)
        table, expected = KeyTable(), dict[str, int]()
        for key, number in puts:
            table.put(key, number)
            expected[key] = number
            assert len(table) == len(expected)
    asked = ["a", "b", "c", "é", "\ud800", "", "never"]
    assert [table.get(key) for key in asked] == [expected.get(key) for key in asked]
    assert [key in table for key in asked] == [key in expected for key in asked]
    hashes = np.array([key_hash(key) for key in asked], dtype=np.uint64)
    numbers = [expected.get(key, NOT_THERE) for key in asked]
    assert table.numbers_of(hashes).tolist() == numbers
    assert [table.get(key) for key in asked] == [expected.get(key) for key in asked]
