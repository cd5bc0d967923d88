"""Which engine the launcher's environment asks for."""

import pytest
import torch

from pixsearch.training.engines import Engine, engine_of
from pixsearch.training.engines.fully_sharded import FullySharded
from pixsearch.training.engines.replicated import Replicated
from pixsearch.training.engines.zero import Zero2, Zero3
from pixsearch.training.processes import Processes


def processes(count: int) -> Processes:
    return Processes(rank=0, count=count, device=torch.device("cpu"))


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP", "FSDP_VERSION"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_launcher_there_is_one_process() -> None:
    assert engine_of(processes(1)) is Engine
    assert engine_of(processes(2)) is Replicated


def test_fsdp_is_the_second_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="fsdp_version: 1; PixSearch has FSDP2"):
        engine_of(processes(2))
    monkeypatch.setenv("FSDP_VERSION", "2")
    assert engine_of(processes(2)) is FullySharded


def test_a_stage_of_zero_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "1")
    with pytest.raises(ValueError, match="zero_stage: 1; PixSearch has 2 and 3"):
        engine_of(processes(2))
    for stage, engine in (("2", Zero2), ("3", Zero3)):
        monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", stage)
        assert engine_of(processes(2)) is engine
