"""From what Hydra composes to typed options, and back to plain values."""

from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

Options = TypeVar("Options")


def from_omegaconf(options: type[Options], composed: DictConfig | dict[str, Any]) -> Options:
    """Turn a composed configuration into a typed one.

    Raises:
        ValueError: an unknown name, a wrong type or a required value that was not given; one line
            that names the option.
    """
    try:
        # a plain container first: a typed one would bring a `+added` key along unseen
        values = OmegaConf.to_container(OmegaConf.create(composed), resolve=False)
        merged = OmegaConf.merge(OmegaConf.structured(options), values)
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        where = getattr(error, "full_key", None)
        raise ValueError(
            f"configuration: {reason}"
            + (f" (option: {where})" if where else "")
            + f"; the options of {options.__name__} are listed in pixsearch/config/"
        ) from error


def to_dict(options: Any) -> dict[str, Any]:
    """The plain, JSON-ready form of an options object, saved beside every checkpoint and result."""
    return OmegaConf.to_container(OmegaConf.structured(options), resolve=True, enum_to_str=True)  # type: ignore[return-value]
