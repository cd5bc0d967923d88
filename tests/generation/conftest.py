import pytest

from pixsearch.model import PixSearch


@pytest.fixture(scope="session")
def model(shared_model: PixSearch) -> PixSearch:
    return shared_model
