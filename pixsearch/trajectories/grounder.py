"""Where the masks of a trajectory's phrases come from: what the builder asks of a grounder."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from PIL import Image

from pixsearch.datasets.example import Masks


@runtime_checkable
class PhraseGrounder(Protocol):
    """Finds what phrases name in an image."""

    def masks(self, image: Image.Image, phrases: Sequence[str]) -> Masks:
        """One mask per phrase, in their order and in the image's own pixels.

        A phrase that is not found has an empty mask; nothing is guessed.
        """
        ...
