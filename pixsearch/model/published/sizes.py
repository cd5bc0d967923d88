"""What a checkpoint's shapes say of its architecture."""

from typing import Any

from torch import Tensor

from pixsearch.model.published.read import Tensors

DECODER_HEADS = 8  # of the mask decoders of SAM and SAM 2; shapes do not tell


def required(tensors: Tensors, name: str) -> Tensor:
    """The tensor of that name, from whose shape sizes are read.

    Raises:
        ValueError: it is missing.
    """
    if name not in tensors:
        raise ValueError(
            f"{name} is missing, by which the model's sizes are known; "
            "is a shard of the checkpoint missing?"
        )
    return tensors[name]


def count_layers(tensors: Tensors, prefix: str) -> int:
    """How many numbered modules stand under `prefix`."""
    numbers = {
        name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)
    }
    return len(numbers)


def language_sizes(tensors: Tensors) -> dict[str, int]:
    """Sizes of the language model, as `LlamaConfig` and `Qwen2Config` name them, without heads."""
    prefix = "backbone.model.language_model."
    vocabulary, width = required(tensors, f"{prefix}embed_tokens.weight").shape
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": len(required(tensors, f"{prefix}layers.0.mlp.gate_proj.weight")),
        "num_hidden_layers": count_layers(tensors, f"{prefix}layers."),
    }


def check_sizes(sizes: dict[str, int], config: dict[str, Any], source: str) -> None:
    """See that config.json says what the shapes say.

    The vocabulary may differ: rows were added after the file had been written.

    Raises:
        ValueError: it says otherwise; names the first size, with both numbers.
    """
    for name, found in sizes.items():
        if name != "vocab_size" and config.get(name, found) != found:
            raise ValueError(
                f"{source}: its config.json has {name}={config[name]}, its tensors {found}; "
                "the two are of different models"
            )
