"""How an entity looks: the space of appearances, and who may draw from which part of it.

The miniature's pre-trained parts see worlds of seeds >= `FOUNDATION_SEED` only, and those draw
their appearances from one half of the space; evaluated worlds draw from the other half. So the
tower and the segmenter know the drawing style and none of the entities.
"""

import zlib
from dataclasses import astuple, dataclass

import numpy as np

FOUNDATION_SEED = 1_000_000
"""Worlds of this seed and above belong to the pre-trained parts."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 45, 40),
    "orange": (240, 140, 30),
    "yellow": (245, 220, 60),
    "green": (50, 150, 65),
    "cyan": (70, 200, 215),
    "blue": (45, 75, 190),
    "purple": (140, 65, 170),
    "brown": (120, 75, 40),
}
KINDS = ("boat", "tower", "lantern", "fish", "flask", "banner")
EMBLEMS = ("disc", "ring", "star", "cross", "moon", "diamond", "triangle", "bars", "heart")
NUM_SILHOUETTES = 3
INKS: dict[str, tuple[int, int, int]] = {"white": (250, 250, 250), "black": (20, 20, 20)}


@dataclass(frozen=True, kw_only=True, order=True)
class Appearance:
    """All that varies in a drawing. Entities of one world never share all of it."""

    kind: str
    silhouette: int
    colour: str
    trim: str
    emblem: str
    ink: str

    @property
    def is_for_foundation(self) -> bool:
        """True in the half of the space that pre-training draws (by a checksum, so it is fixed)."""
        return zlib.crc32("/".join(map(str, astuple(self))).encode()) % 2 == 0

    def with_emblem(self, emblem: str) -> "Appearance":
        """A look-alike: everything the same but the emblem."""
        return Appearance(
            kind=self.kind,
            silhouette=self.silhouette,
            colour=self.colour,
            trim=self.trim,
            emblem=emblem,
            ink=self.ink,
        )


def draw_appearance(
    generator: np.random.Generator, *, kind: str, for_foundation: bool
) -> Appearance:
    """A random appearance of one kind, from the half of the space that the caller may use."""
    while True:
        colour, trim = generator.choice(list(COLOURS), size=2, replace=False)
        appearance = Appearance(
            kind=kind,
            silhouette=int(generator.integers(NUM_SILHOUETTES)),
            colour=str(colour),
            trim=str(trim),
            emblem=str(generator.choice(EMBLEMS)),
            ink=str(generator.choice(list(INKS))),
        )
        if appearance.is_for_foundation == for_foundation:
            return appearance


def draw_look_alike(
    generator: np.random.Generator, appearance: Appearance, taken: set[Appearance]
) -> Appearance | None:
    """Another emblem, all else the same, from the same half; None if all are taken."""
    for emblem in generator.permutation(EMBLEMS):
        candidate = appearance.with_emblem(str(emblem))
        same_half = candidate.is_for_foundation == appearance.is_for_foundation
        if same_half and candidate not in taken and candidate != appearance:
            return candidate
    return None
