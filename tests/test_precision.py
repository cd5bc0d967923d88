from pathlib import Path

import pytest
import torch

from pixsearch import precision
from pixsearch.config import Precision

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
