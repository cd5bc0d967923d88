"""Engines that training would refuse."""

from pixsearch.config import PlanOptions
from pixsearch.model.quantization import why_not

SPLIT = ("fsdp2", "zero3")  # engines whose processes hold parts of weights


def refused_engines(options: PlanOptions) -> dict[str, str]:
    """Name of an engine -> the option that it refuses.

    Raises:
        ValueError: the stage is refused under every engine; one line.
    """
    quantization = options.model.quantization
    if reason := why_not(options, is_split=False):
        raise ValueError(f"model.quantization={quantization}: {reason}")
    refused = {}
    if options.model.mask_feedback:
        refused["zero3"] = "model.mask_feedback=true"
    if why_not(options, is_split=True):
        refused |= dict.fromkeys(SPLIT, f"model.quantization={quantization}")
    return refused
