"""Encoders' files -> configurations, processors, weights; what is wrong with them in one line."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from pixsearch.config import EncoderOptions
from pixsearch.precision import best_device

Part = TypeVar("Part")
Model = TypeVar("Model", bound=PreTrainedModel)
TEXT_ENCODER, IMAGE_ENCODER = "text_encoder", "image_encoder"  # fields of RetrievalOptions


def load_config(
    options: EncoderOptions, *, role: str, model_types: Sequence[str]
) -> PreTrainedConfig:
    """The configuration of a transformers model.

    Raises:
        ValueError: there is no such folder or hub id, or its model is of another type.
    """
    config = load_part(AutoConfig.from_pretrained, options, role=role, what="config.json")
    if config.model_type not in model_types:
        raise ValueError(
            f"{role}.model={options.model}: a model of type {config.model_type!r}, but "
            f"{role}.name={options.name} is for {', '.join(model_types)}"
        )
    return config


def load_part(
    load: Callable[..., Part],
    options: EncoderOptions,
    *,
    role: str,
    what: str,
    **arguments: Any,
) -> Part:
    """Call `load` with the model's folder or hub id, and its revision.

    Raises:
        ValueError: it cannot be had; one line.
    """
    if not options.model:
        raise ValueError(f"{role}.model is empty: {role}.name={options.name} needs one")
    try:
        return load(options.model, revision=options.revision, **arguments)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise unreadable(options, role=role, what=what, reason=error) from error


def load_weights(
    load: Callable[..., tuple[Model, dict[str, Any]]],
    options: EncoderOptions,
    *,
    role: str,
    **arguments: Any,
) -> Model:
    """A frozen model in fp32 on the machine's accelerator, by its class's `from_pretrained`.

    Raises:
        ValueError: there are no weights, or not all.
    """
    model, report = load_part(
        load,
        options,
        role=role,
        what="weights",
        dtype=torch.float32,
        output_loading_info=True,
        **arguments,
    )
    refuse_missing(report["missing_keys"], options, role=role)
    return model.eval().requires_grad_(False).to(best_device())


def refuse_missing(names: Collection[str], options: EncoderOptions, *, role: str) -> None:
    """See that no weight is left as it was drawn.

    Raises:
        ValueError: one is.
    """
    if names:
        raise ValueError(
            f"{role}.model={options.model}: {len(names)} of the weights that {role}.name="
            f"{options.name} needs are missing ({min(names)}, …): give the whole model"
        )


def unreadable(options: EncoderOptions, *, role: str, what: str, reason: Exception) -> ValueError:
    """The one line for files that a library cannot read; its own messages have many."""
    kind = "folder" if Path(options.model).is_dir() else "folder or hub id"
    revision = f" (revision {options.revision})" if options.revision else ""
    first_line = str(reason).strip().splitlines()[0] if str(reason).strip() else repr(reason)
    return ValueError(
        f"{role}.model={options.model}{revision}: no {what} can be loaded from this {kind}: "
        f"{first_line}"
    )
