"""The frozen image encoders, kept out of what an engine splits."""

from collections.abc import Iterator
from operator import attrgetter

from torch import Tensor, nn

from pixsearch.model.pixsearch import PixSearch
from pixsearch.model.segmenters import segmenter_kind


def encoder_names(model: PixSearch) -> tuple[str, ...]:
    """Modules and parameters that the frozen image encoders alone use, by place in the model."""
    tower = model.family.encoder(model.backbone)
    of_backbone = next(name for name, each in model.named_modules() if each is tower)
    of_segmenter = segmenter_kind(model.config.segmenter).encoder_names()
    return (of_backbone, *(f"segmenter.{name}" for name in of_segmenter))


def encoder_tensors(model: PixSearch) -> Iterator[tuple[str, Tensor]]:
    """The encoders' weights, hidden or not; a name each."""
    yield from model.family.encoder(model.backbone).state_dict().items()
    for name in segmenter_kind(model.config.segmenter).encoder_names():
        found = attrgetter(name)(model.segmenter)
        if isinstance(found, nn.Module):
            yield from found.state_dict(prefix=f"{name}.").items()
        else:
            yield name, found


def hide_encoders(model: PixSearch) -> dict[str, Tensor]:
    """Take the encoders' weights out of the model's own, in place; the model goes on using them.

    Returns:
        What a checkpoint holds of them, by name.
    """
    hidden: dict[str, Tensor] = {}
    for name in encoder_names(model):
        owner_name, _, attribute = name.rpartition(".")
        owner = model.get_submodule(owner_name)
        found = getattr(owner, attribute)
        if isinstance(found, nn.Module):
            hidden |= {f"{name}.{key}": value for key, value in found.state_dict().items()}
        else:
            hidden[name] = found.detach()
        delattr(owner, attribute)
        owner.__dict__[attribute] = found  # not registered, so that no engine finds it
    return hidden
