"""How many weights a model has, part by part, counted in its modules."""

from collections.abc import Iterator
from dataclasses import dataclass

from pixsearch.config import TrainablePart
from pixsearch.model.pixsearch import PixSearch
from pixsearch.model.trainable import PARTS
from pixsearch.training.engines.frozen import encoder_names

NEW_ROWS = "new_token_rows"
POSITIONS = "segmenter_positions"  # SAM's Fourier matrix; Meta has it as a buffer
PLACES = {
    "new_rows": NEW_ROWS,
    "backbone.model.language_model.embed_tokens": "embedding_and_head",
    "backbone.lm_head": "embedding_and_head",
    "segmenter.vision_encoder": "segmenter_image_encoder",
    "segmenter.prompt_encoder": TrainablePart.prompt_encoder.value,
    "segmenter.mask_decoder": TrainablePart.mask_decoder.value,
    "segmenter.shared_image_embedding": POSITIONS,
    "grounding.projection": "prompt_projection",
    "grounding.tagger": "span_tagger",
    "grounding.feedback": "mask_feedback",
}
"""Place in the model -> part, for weights that no trainable part has, and those of `SPLIT`."""

SPLIT = (TrainablePart.tokens, TrainablePart.grounding)  # parts of several rows


@dataclass(frozen=True, kw_only=True)
class PartCount:
    """The weights of one part."""

    name: str
    trainable: int = 0
    frozen: int = 0

    @property
    def total(self) -> int:
        return self.trainable + self.frozen


@dataclass(frozen=True, kw_only=True)
class ParameterCounts:
    """The weights of a model, each in one part."""

    parts: tuple[PartCount, ...]

    @property
    def trainable(self) -> int:
        return sum(part.trainable for part in self.parts)

    @property
    def total(self) -> int:
        return sum(part.total for part in self.parts)

    @property
    def published(self) -> int:
        """As the publishers count: without the rows of our tokens, and SAM's positions a buffer."""
        return sum(part.total for part in self.parts if part.name not in (NEW_ROWS, POSITIONS))

    @property
    def published_without_lora(self) -> int:
        lora = sum(part.total for part in self.parts if part.name == TrainablePart.lora)
        return self.published - lora


def count_parameters(model: PixSearch) -> ParameterCounts:
    """Count the weights of a model whose trainable parts are set.

    A module that no part names is a part of its own, called by its place.
    """
    counts: dict[str, PartCount] = {}
    for part, trains, number in _weights(model):
        old = counts.get(part, PartCount(name=part))
        counts[part] = PartCount(
            name=part,
            trainable=old.trainable + number * trains,
            frozen=old.frozen + number * (not trains),
        )
    return ParameterCounts(parts=tuple(counts.values()))


def _weights(model: PixSearch) -> Iterator[tuple[str, bool, int]]:
    """Of each weight its part, whether it trains, and its size."""
    of_part = {
        id(parameter): part.value
        for part, find in PARTS.items()
        if part not in SPLIT
        for parameter in find(model)
    }
    places = {encoder_names(model)[0]: "vision_tower", **PLACES}
    for name, parameter in model.named_parameters():
        part = of_part.get(id(parameter)) or _part_at(name, places)
        yield part, parameter.requires_grad, parameter.numel()


def _part_at(name: str, places: dict[str, str]) -> str:
    """The part of a weight by its place.

    >>> _part_at("backbone.lm_head.weight", PLACES), _part_at("tagger.layer.weight", PLACES)
    ('embedding_and_head', 'tagger')
    """
    for place, part in places.items():
        if name.startswith(f"{place}."):
            return part
    steps = name.split(".")
    return ".".join(steps[: 3 if steps[0] in ("backbone", "segmenter") else 1])
