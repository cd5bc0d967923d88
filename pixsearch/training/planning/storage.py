"""How training keeps the weights of a model, as dtypes of a model on the meta device."""

import torch
from torch import nn

from pixsearch.config import ModelOptions, Quantization
from pixsearch.model.pixsearch import PixSearch
from pixsearch.precision import keep_frozen_in_bf16

NF4 = torch.uint8  # stands for it here, one number a weight; bitsandbytes has two in one
NF4_BYTES = 1 / 2 + 1 / 64 + 4 / (64 * 256)  # and of 64 a scale in 8 bits, of 256 scales an fp32


def keep_as_trained(model: PixSearch, options: ModelOptions) -> None:
    """Give frozen weights the dtypes that training keeps them in, in place: `NF4` or bf16."""
    if options.quantization is not Quantization.none:
        layers = model.backbone.model.language_model.layers
        for name, module in layers.named_modules():
            if isinstance(module, nn.Linear) and "lora_" not in name:
                module.weight.data = module.weight.data.to(NF4)
    if options.frozen_in_bf16:
        keep_frozen_in_bf16(model)


def weight_bytes(parameter: nn.Parameter) -> int:
    """What a weight takes where `keep_as_trained` has set how."""
    size = NF4_BYTES if parameter.dtype is NF4 else parameter.element_size()
    return round(parameter.numel() * size)


def module_bytes(module: nn.Module) -> int:
    """The same of all its weights."""
    return sum(map(weight_bytes, module.parameters()))
