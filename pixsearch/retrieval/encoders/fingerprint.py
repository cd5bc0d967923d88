"""What decides an encoder's vectors, in one hash."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

OF_THE_PLACE = ("_name_or_path", "transformers_version", "architectures", "dtype")


def fingerprint(described: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """sha256 of a JSON-ready description and of all weights with their names."""
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def described_config(config: PreTrainedConfig) -> dict[str, Any]:
    """What a configuration says beyond its class's defaults, without where and when it was saved.

    A release of transformers that adds an option thus leaves the fingerprint as it was.
    """
    values = config.to_diff_dict()
    return {name: value for name, value in values.items() if name not in OF_THE_PLACE}
