"""transformers' own image processors, kept in our config so that a checkpoint brings its own."""

from typing import Any

import transformers
from transformers import BaseImageProcessor


def processor_from(values: dict[str, Any] | None) -> BaseImageProcessor:
    """Build the image processor that `to_dict` described.

    Raises:
        ValueError: there is no description, or this transformers does not know its class.
    """
    name = (values or {}).get("image_processor_type")
    kind = getattr(transformers, str(name), None)
    if values is None or kind is None:
        raise ValueError(
            f"config.json: image_processor names {name!r}, which transformers "
            f"{transformers.__version__} does not have; install the version that wrote the "
            "checkpoint, or compose the model anew"
        )
    return kind.from_dict(values)
