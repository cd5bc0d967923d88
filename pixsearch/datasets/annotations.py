"""How the masks of an image's phrases are stored: COCO segmentations, or a map of class labels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool

from pixsearch.datasets.example import Masks
from pixsearch.datasets.label_maps import LabelArray, read_label_map
from pixsearch.datasets.masks import Segmentation, decode_masks

LoadIgnore = Callable[[], Bool[np.ndarray, "height width"]]


@runtime_checkable
class Annotation(Protocol):
    """The masks of some phrases, in their order, not decoded yet.

    Attributes:
        size: height and width in pixels that the annotation is made for; None if it does not say.
    """

    @property
    def size(self) -> tuple[int, int] | None: ...

    def part(self, phrases: slice) -> "Annotation":
        """The annotation of some of the phrases."""
        ...

    def loaders(self, *, example: str) -> tuple[Callable[[], Masks], LoadIgnore | None]:
        """What decodes the masks, and the map of unknown labels if there are any.

        Args:
            example: id of the example, for errors.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Segmentations:
    """COCO segmentations.

    Attributes:
        groups: of each phrase; their union is its mask.
        ignored: of unknown label.
    """

    height: int
    width: int
    groups: tuple[tuple[Segmentation, ...], ...]
    ignored: tuple[Segmentation, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    def part(self, phrases: slice) -> "Segmentations":
        return replace(self, groups=self.groups[phrases])

    def loaders(self, *, example: str) -> tuple[Callable[[], Masks], LoadIgnore | None]:
        decode = partial(decode_masks, height=self.height, width=self.width, example=example)
        unknown = partial(_first, partial(decode, (self.ignored,))) if self.ignored else None
        return partial(decode, self.groups), unknown


def _first(decode: Callable[[], Masks]) -> Bool[np.ndarray, "height width"]:
    return decode()[0]


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """A picture whose pixels are class labels.

    Attributes:
        labels: of each phrase; the pixels that have it are its mask.
        unknown: labels that say that the class is not known.
    """

    path: Path
    height: int
    width: int
    labels: tuple[int, ...]
    unknown: tuple[int, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    def part(self, phrases: slice) -> "LabelMap":
        return replace(self, labels=self.labels[phrases])

    def loaders(self, *, example: str) -> tuple[Callable[[], Masks], LoadIgnore | None]:
        decoded = _Decoded(self, example)
        return decoded.masks, decoded.unknown if self.unknown else None


class _Decoded:
    """A label map that is decoded once, for masks and unknown pixels alike."""

    def __init__(self, annotation: LabelMap, example: str) -> None:
        self._annotation = annotation
        self._example = example

    @cached_property
    def _labels(self) -> LabelArray:
        labels = read_label_map(self._annotation.path)
        if labels.shape != self._annotation.size:
            raise ValueError(
                f"{self._annotation.path}: {labels.shape[0]}x{labels.shape[1]} (height x width) "
                f"for example {self._example!r}, no longer "
                f"{self._annotation.height}x{self._annotation.width}: open the data set again"
            )
        return labels

    def masks(self) -> Masks:
        return np.stack([self._labels == label for label in self._annotation.labels])

    def unknown(self) -> Bool[np.ndarray, "height width"]:
        return np.isin(self._labels, self._annotation.unknown)
