"""What lmms-eval reads of the model, with stand-ins for lmms-eval: its own test is a slow one."""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

MODEL = "pixsearch.evaluation.lmms_eval_model"


class Lmms:
    """Of the base class what the model rests on."""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    stand_ins: dict[str, dict[str, Any]] = {
        "lmms_eval": {},
        "lmms_eval.api": {},
        "lmms_eval.api.instance": {"Instance": object},
        "lmms_eval.api.model": {"lmms": Lmms},
        "loguru": {"logger": SimpleNamespace(info=lambda *words: None)},
    }
    for name, content in stand_ins.items():
        stand_in = ModuleType(name)
        vars(stand_in).update(content)
        monkeypatch.setitem(sys.modules, name, stand_in)
    sys.modules.pop(MODEL, None)
    yield importlib.import_module(MODEL)
    sys.modules.pop(MODEL, None)


@pytest.fixture
def traces(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Those that harnesses are opened with; what else they need is left out."""
    opened = []

    def open_harness(options: None, *, source: str | None, trace: str | None) -> SimpleNamespace:
        opened.append(trace)
        return SimpleNamespace(source="index-0")

    monkeypatch.setattr(module, "Harness", SimpleNamespace(open=open_harness))
    monkeypatch.setattr(module, "read_options", lambda path, overrides: None)
    return opened


def test_with_several_processes_the_evaluator_finds_where_to_gather(module, traces, monkeypatch):
    device = torch.device("cpu", 0)
    here = SimpleNamespace(device=device, process_index=0, local_process_index=0)
    monkeypatch.setattr(module, "Accelerator", lambda: here)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    lmm = module.PixSearchLmm("options.yaml", trace="trace.jsonl")
    assert lmm.accelerator is here
    assert lmm.device == device
    assert traces == ["trace.jsonl.part-01"]


def test_one_process_needs_no_other(module, traces, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    lmm = module.PixSearchLmm("options.yaml", trace="trace.jsonl")
    assert not hasattr(lmm, "accelerator")
    assert traces == ["trace.jsonl"]
