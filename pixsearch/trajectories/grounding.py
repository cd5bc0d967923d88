"""Masks of phrases: where the words before a search point to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from pixsearch.datasets.example import Masks
from pixsearch.datasets.files import JsonLines, require
from pixsearch.datasets.masks import Rle, decode_masks
from pixsearch.trajectories.grounder import PhraseGrounder
from pixsearch.trajectories.quarantine import Reason, Unusable
from pixsearch.trajectories.sources import SourcedQuestion


@runtime_checkable
class MaskSource(Protocol):
    """Gives the masks of a question's phrases. For one thread at a time."""

    def masks_of(self, asked: SourcedQuestion, phrases: Sequence[str]) -> Masks:
        """One mask per phrase, in the pixels of the question's image.

        Raises:
            Unusable: there is no mask, or the image cannot be read.
        """
        ...


class GroundedMasks:
    """Masks that a grounder finds."""

    def __init__(self, grounder: PhraseGrounder) -> None:
        self._grounder = grounder

    def masks_of(self, asked: SourcedQuestion, phrases: Sequence[str]) -> Masks:
        """See `MaskSource.masks_of`."""
        assert asked.question.load_image is not None
        try:
            image = asked.question.load_image()
        except ValueError as error:
            raise Unusable(Reason.broken_image, str(error)) from error
        try:
            return self._grounder.masks(image, phrases)
        except ValueError as error:
            raise Unusable(Reason.no_mask, str(error)) from error


class GivenMasks:
    """Masks that somebody made before.

    Args:
        masks: by key of the question (`SOURCE/ID`) and phrase.
    """

    def __init__(self, masks: Mapping[tuple[str, str], Rle]) -> None:
        self._masks = masks

    @classmethod
    def read(cls, path: Path) -> "GivenMasks":
        """From lines `{"question": "SOURCE/ID", "phrase": …, "mask": RLE of COCO}`.

        Raises:
            ValueError: the file is missing, or a line is broken; names file and line.
        """
        lines = JsonLines(path)
        masks = {}
        for number, line in enumerate(lines):
            where = lines.where(number)
            require(line, "question", "phrase", "mask", where=where)
            require(line["mask"], "size", "counts", where=f"{where}: the mask")
            if not isinstance(line["question"], str) or not isinstance(line["phrase"], str):
                raise ValueError(f"{where}: question and phrase are texts; mend the line")
            masks[line["question"], line["phrase"]] = line["mask"]
        return cls(masks)

    def masks_of(self, asked: SourcedQuestion, phrases: Sequence[str]) -> Masks:
        """See `MaskSource.masks_of`."""
        missing = [phrase for phrase in phrases if (asked.key, phrase) not in self._masks]
        if missing:
            raise Unusable(Reason.no_mask, f"none is given for {missing[0]!r}")
        rles = [self._masks[asked.key, phrase] for phrase in phrases]
        height, width = rles[0]["size"]
        groups = [(rle,) for rle in rles]
        try:
            return decode_masks(groups, height=height, width=width, example=asked.key)
        except ValueError as error:
            raise Unusable(Reason.no_mask, str(error)) from error


def empty_ones(masks: Masks) -> list[int]:
    """Places of the masks without a pixel.

    >>> empty_ones(np.array([[[True]], [[False]]]))
    [1]
    """
    return [place for place, mask in enumerate(masks) if not np.any(mask)]
