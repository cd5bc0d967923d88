"""QLoRA: layers of the language model in 4 bits, by bitsandbytes; adapters train beside them."""

import importlib.util
from typing import Any

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel

from pixsearch.config import ModelOptions, Quantization, TrainablePart, TrainOptions
from pixsearch.precision import best_device, mixed_precision

OUTSIDE = r"(?!.*language_model\.layers\.).*"  # names of modules, as transformers matches them
ADAPTERS = r".*\.lora_.*"
REPACKS = "support_avx512bf16_for_cpu"  # of bitsandbytes' Linear4bit


def check_quantization(options: TrainOptions, *, is_split: bool) -> None:
    """See that a run can train beside 4-bit weights, before anything heavy is loaded.

    Args:
        is_split: the engine splits weights over the processes.

    Raises:
        ValueError: it cannot; one line.
    """
    quantization = options.model.quantization
    if quantization is Quantization.none:
        return
    if reason := why_not(options, is_split=is_split):
        raise ValueError(f"model.quantization={quantization}: {reason}")
    check_bitsandbytes(f"model.quantization={quantization}")


def why_not(options: TrainOptions, *, is_split: bool) -> str:
    """Why a run cannot train beside 4-bit weights; empty if it can, or has none."""
    if options.model.quantization is Quantization.none:
        return ""
    if options.model.lora_rank == 0:
        return "its 4-bit weights do not train, set model.lora_rank"
    if TrainablePart.language_model in options.stage.trainable:
        return "its 4-bit weights do not train, put lora for language_model into stage.trainable"
    if is_split:
        return "FSDP2 and ZeRO-3 cannot split 4-bit weights, launch with ddp.yaml or zero2.yaml"
    return ""


def check_bitsandbytes(asked_by: str) -> None:
    """See that the package is there.

    Raises:
        ValueError: it is not.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(
            f"{asked_by}: bitsandbytes is not installed; run `make setup EXTRAS=cpu,qlora` "
            "(or gpu,qlora)"
        )


def loading_options(options: ModelOptions) -> dict[str, Any]:
    """What transformers needs to quantise a language model while it loads it.

    It does so on the CPU: the parts of a model are put together there, then moved.
    """
    if options.quantization is Quantization.none:
        return {}
    check_bitsandbytes(f"model.quantization={options.quantization}")
    is_mixed = mixed_precision(options.precision, best_device()) == "bf16"
    return {
        "device_map": {"": "cpu"},
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=options.quantization.value,
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16 if is_mixed else torch.float32,
            llm_int8_skip_modules=[OUTSIDE, ADAPTERS],
        ),
    }


def keep_packing(backbone: PreTrainedModel) -> None:
    """Keep 4-bit weights as they were saved, for a run that saves them again.

    On CPUs with bf16 units bitsandbytes would pack them anew, in place, in the first evaluation.
    """
    for module in backbone.modules():
        if hasattr(module, REPACKS):
            setattr(module, REPACKS, False)
