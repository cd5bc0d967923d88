"""Toys that the tests of the builder share."""

from collections.abc import Iterator

import pytest

from pixsearch.config import RetrievalOptions
from pixsearch.datasets.questions import QUESTION_READERS
from tests.trajectories.toys import build_source, register


@pytest.fixture(autouse=True)
def _toy_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TOY_KEY", "secret")
    register()
    yield
    del QUESTION_READERS["toy"]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> RetrievalOptions:
    """The documents about boats, indexed."""
    return build_source(tmp_path_factory.mktemp("boats"))
