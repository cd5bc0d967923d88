"""Which arithmetic a device is good at."""

import logging
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import nn

from pixsearch.config import ModelOptions, Precision

logger = logging.getLogger(__name__)

CPU_FLAGS = Path("/proc/cpuinfo")
CAST_BY_AUTOCAST = (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
BF16_UNITS = ("avx512_bf16", "amx_bf16")


def best_device() -> torch.device:
    """The machine's accelerator, the CPU where there is none."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found or torch.device("cpu")


def mixed_precision(precision: Precision, device: torch.device) -> str:
    """Accelerate's name, "bf16" or "no", of the arithmetic for matrix products on a device."""
    if precision is Precision.auto:
        return "bf16" if has_bf16_units(device) else "no"
    if precision is Precision.bf16 and not has_bf16_units(device):
        logger.warning("model.precision=bf16: %s only emulates it; fp32 is much faster", device)
    return "bf16" if precision is Precision.bf16 else "no"


def fast_products(device: torch.device) -> AbstractContextManager[None]:
    """Matrix products in bf16 where the device has units for it, in fp32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bf16_units(device))


def has_bf16_units(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware.

    On a CPU without such units (measured on an AMD Zen 3) a bf16 matrix product runs at 1.3 GFLOPS,
    the same one in fp32 at 127.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and CPU_FLAGS.exists():
        flags = CPU_FLAGS.read_text(errors="replace").split()
        return any(unit in flags for unit in BF16_UNITS)
    return False


def check_frozen_in_bf16(options: ModelOptions, precision: str) -> None:
    """See that a run whose frozen weights are to be rounded computes in bf16.

    Args:
        precision: what `mixed_precision` returns.

    Raises:
        ValueError: it does not; one line.
    """
    if options.frozen_in_bf16 and precision != "bf16":
        raise ValueError(
            "model.frozen_in_bf16=true: this run computes in fp32, to which bf16 would not do; set "
            "model.precision=bf16, or frozen_in_bf16=false"
        )


def keep_frozen_in_bf16(model: nn.Module) -> int:
    """Round the frozen weights of linear layers and convolutions to bf16, in place.

    Arithmetic in bf16 casts them in every step anyway, and keeps the copies for the backward: what
    comes out is the same to the last bit, in half the memory. What trains stays in fp32, as do
    norms and embeddings.

    Returns:
        How many weights are kept so.
    """
    looked_up = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding)}
    kept = 0
    for module in model.modules():
        if isinstance(module, CAST_BY_AUTOCAST):
            for parameter in module.parameters(recurse=False):
                is_fp32 = parameter.dtype is torch.float32
                if is_fp32 and not parameter.requires_grad and id(parameter) not in looked_up:
                    parameter.data = parameter.data.to(torch.bfloat16)
                    kept += parameter.numel()
    return kept
