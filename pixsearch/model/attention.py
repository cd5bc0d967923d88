"""How the language model computes attention: a kernel to train with, and torch's own to decode.

The image encoders and the mask decoder keep transformers' default.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pixsearch.config import Attention
from pixsearch.model.pixsearch import PixSearch


def check_attention(attention: Attention, *, device: torch.device, precision: str) -> None:
    """See that a run can train with a kind of attention, before anything heavy is loaded.

    Args:
        precision: "bf16" or "no", as `mixed_precision` says it.

    Raises:
        ValueError: the device, the arithmetic or the environment cannot; one line.
    """
    if attention in (Attention.sdpa, Attention.eager):
        return
    reason = ""
    if device.type == "cpu":
        reason = "it has no backward on a CPU"
    elif attention is Attention.flash_attention_2:
        if precision != "bf16":
            reason = "it computes in bf16 alone, set model.precision=bf16"
        elif importlib.util.find_spec("flash_attn") is None:
            reason = "the package flash-attn is not installed"
    if reason:
        raise ValueError(f"model.attention={attention}: {reason}; or take model.attention=sdpa")


def set_attention(model: PixSearch, attention: Attention) -> None:
    """Let the language model use it from now on.

    Raises:
        ValueError: transformers has not written this language model for it.
    """
    language_model = model.backbone.model.language_model
    try:
        language_model.set_attn_implementation(attention.value)
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"model.attention={attention}: {str(error).splitlines()[0]}; take model.attention=sdpa"
        ) from error


@contextmanager
def attending(model: PixSearch, attention: Attention) -> Iterator[None]:
    """Use another kind of attention for a while."""
    before = Attention(model.backbone.model.language_model.config._attn_implementation)
    set_attention(model, attention)
    try:
        yield
    finally:
        set_attention(model, before)
