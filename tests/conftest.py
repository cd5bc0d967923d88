"""What all tests share. Tiny parts are faster on one thread than on several."""

from pathlib import Path

import pytest
import torch
from transformers.utils import logging

from pixsearch.model import PixSearch
from tests.commands import run_demo
from tests.tiny import tiny_model

torch.set_num_threads(1)
logging.disable_progress_bar()


@pytest.fixture(scope="session")
def shared_model() -> PixSearch:
    """One tiny model for the tests that do not change it."""
    return tiny_model()


@pytest.fixture(scope="session")
def finished_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a demo, for the tests that do not change it."""
    folder = tmp_path_factory.mktemp("demo")
    done = run_demo(folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder
