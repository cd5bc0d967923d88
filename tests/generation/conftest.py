import pytest

from pixsearch.model import PixSearch
from tests.tiny import tiny_model


@pytest.fixture(scope="session")
def model() -> PixSearch:
    """Random weights; nothing in these tests changes them."""
    return tiny_model()
