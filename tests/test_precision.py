from pathlib import Path

import pytest
import torch

from pixsearch import precision
from pixsearch.config import Precision
from tests.model.examples import batch
from tests.tiny import tiny_model

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx2 avx512f", "no"), ("fpu avx512_bf16", "bf16"), ("fpu amx_bf16 amx_tile", "bf16")],
)
def test_auto_asks_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, expected: str
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"model name : some\nflags\t\t: {flags}\n")
    monkeypatch.setattr(precision, "CPU_FLAGS", cpuinfo)
    assert precision.mixed_precision(Precision.auto, CPU) == expected


def test_what_is_asked_for_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "CPU_FLAGS", tmp_path / "absent")
    assert precision.mixed_precision(Precision.bf16, CPU) == "bf16"
    assert precision.mixed_precision(Precision.fp32, CPU) == "no"
    assert precision.mixed_precision(Precision.auto, CPU) == "no"


def test_frozen_weights_in_bf16_change_no_bit() -> None:
    """Of the language model and what follows; the encoders' features are given."""
    model = tiny_model(lora_rank=2)
    model.requires_grad_(False)
    for part in (model.new_rows, model.grounding, model.segmenter.mask_decoder):
        part.requires_grad_(True)
    inputs = batch(model)
    with torch.autocast("cpu", torch.bfloat16):
        before = model(**inputs)
        assert precision.keep_frozen_in_bf16(model) > 10_000
        after = model(**inputs)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.mask_logits, after.mask_logits)
    assert model.get_input_embeddings().weight.dtype is torch.float32
    assert precision.keep_frozen_in_bf16(model) == 0
