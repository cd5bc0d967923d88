"""What all tests share. Tiny parts are faster on one thread than on several."""

import pytest
import torch
from transformers.utils import logging

from pixsearch.model import PixSearch
from tests.tiny import tiny_model

torch.set_num_threads(1)
logging.disable_progress_bar()


@pytest.fixture(scope="session")
def shared_model() -> PixSearch:
    """One tiny model for the tests that do not change it."""
    return tiny_model()
