"""Which engine answers for a checkpoint: its config.json tells."""

import os
from collections.abc import MutableMapping

from pixsearch.config import GenerationOptions, PolicyOptions
from pixsearch.generation.answering import AnyEngine
from pixsearch.generation.baseline import (
    PlainEngine,
    PlainModel,
    describe,
    is_plain,
    refuse_policy,
)
from pixsearch.generation.engine import Engine
from pixsearch.model import ImageFeatures, PixSearch
from pixsearch.precision import best_device
from pixsearch.queries import Search


def check_options(
    checkpoint: str | os.PathLike[str], policy: PolicyOptions, options: GenerationOptions
) -> None:
    """See, before anything heavy is loaded, that a checkpoint can answer as it is asked to.

    Raises:
        ValueError: it is a plain model, and the policy asks for more; or it is none, and there are
            instructions.
    """
    if is_plain(checkpoint):
        refuse_policy(policy, describe(checkpoint)["model_type"])
    elif options.instruction:
        raise ValueError(
            "generation.instruction: the checkpoint is no plain model, it answers as it was "
            "trained to; leave the instruction empty"
        )


def open_model(checkpoint: str | os.PathLike[str]) -> PixSearch | PlainModel:
    """Load a checkpoint of either kind to the best device.

    Raises:
        ValueError: it is of neither kind, or cannot be loaded.
    """
    if is_plain(checkpoint):
        return PlainModel.from_pretrained(checkpoint)
    return PixSearch.from_pretrained(checkpoint).eval().to(best_device())


def open_engine(
    model: PixSearch | PlainModel,
    search: Search,
    policy: PolicyOptions,
    options: GenerationOptions,
    *,
    feature_cache: MutableMapping[str, ImageFeatures] | None = None,
) -> AnyEngine:
    """The engine of a loaded model; a plain one keeps no features of images."""
    if isinstance(model, PlainModel):
        return PlainEngine(model, search, policy, options)
    return Engine(model, search, policy, options, feature_cache=feature_cache)
