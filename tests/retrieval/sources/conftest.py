from collections.abc import Iterator

import pytest

from tests.retrieval.sources.image_server import ImageServer, running


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with running(ImageServer()) as started:
        yield started
