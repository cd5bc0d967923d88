"""Scenes: which entities stand where, how the picture is drawn, and the exact mask of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from PIL import Image

from pixsearch.miniature.appearance import Appearance
from pixsearch.miniature.drawing import (
    LABEL_ROWS,
    draw_background,
    draw_entity,
    draw_label,
    relight,
)

WIDTH, HEIGHT = 272, 240
EGOCENTRIC_SIDES = (54, 84)  # pixels, smallest and largest entity of a cluttered scene
PORTRAIT_SIDES = (140, 190)  # of the one entity of a non-egocentric scene
_LABEL_SCALE = {True: 2, False: 3}  # egocentric or not → pixels per pixel of the font
_TRIES = 40  # spots tried for one entity before the scene is begun anew


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An entity in a scene; (left, top) and side in pixels."""

    entity_id: str
    appearance: Appearance
    left: int
    top: int
    side: int
    rotation: float
    label: str | None = None  # the word on the plate below it

    @property
    def centre(self) -> tuple[float, float]:
        return self.left + self.side / 2, self.top + self.side / 2


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One picture. Drawing it twice gives the same bits."""

    id: str
    egocentric: bool
    placed: tuple[Placed, ...]
    seed: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DrawnScene:
    image: Image.Image
    masks: Bool[np.ndarray, "num_entities height width"]
    label_boxes: tuple[tuple[int, int, int, int] | None, ...]  # left, top, right, bottom


def arrange(
    generator: np.random.Generator,
    members: Sequence[tuple[str, Appearance]],
    *,
    egocentric: bool,
    labels: dict[str, str],
) -> tuple[Placed, ...]:
    """Place the members so that neither they nor their labels overlap.

    Args:
        labels: entity id → the word on its plate.
    """
    sides = EGOCENTRIC_SIDES if egocentric else PORTRAIT_SIDES
    while True:
        placed: list[Placed] = []
        for entity_id, appearance in members:
            spot = _find_spot(generator, placed, sides, has_label=entity_id in labels)
            if spot is None:
                break
            left, top, side = spot
            placed.append(
                Placed(
                    entity_id=entity_id,
                    appearance=appearance,
                    left=left,
                    top=top,
                    side=side,
                    rotation=float(generator.uniform(-10, 10)),
                    label=labels.get(entity_id),
                )
            )
        if len(placed) == len(members):
            return tuple(placed)


def draw_scene(scene: Scene) -> DrawnScene:
    """The picture and, for each placed entity in order, its exact mask."""
    generator = np.random.default_rng(scene.seed)
    clutter = int(generator.integers(6, 14)) if scene.egocentric else int(generator.integers(1, 4))
    canvas = draw_background(generator, width=WIDTH, height=HEIGHT, clutter=clutter)
    masks = np.zeros((len(scene.placed), HEIGHT, WIDTH), dtype=bool)
    boxes: list[tuple[int, int, int, int] | None] = []
    for index, member in enumerate(scene.placed):
        drawing = draw_entity(member.appearance, side=member.side, rotation=member.rotation)
        canvas.paste(drawing, (member.left, member.top), drawing)
        opaque = np.asarray(drawing)[..., 3] > 127
        rows, columns = (
            slice(member.top, member.top + member.side),
            slice(member.left, member.left + member.side),
        )
        masks[index, rows, columns] = opaque
        boxes.append(_paste_label(canvas, member, scale=_LABEL_SCALE[scene.egocentric]))
    gain, offset = generator.uniform(0.82, 1.08), generator.uniform(-12, 12)
    return DrawnScene(
        image=relight(canvas, gain=float(gain), offset=float(offset)),
        masks=masks,
        label_boxes=tuple(boxes),
    )


def draw_photo(appearance: Appearance, seed: Sequence[int], *, side: int = 128) -> Image.Image:
    """A reference photo: one entity on a plain ground, drawn otherwise than in the scenes.

    Background, scale, rotation and light vary more than in a scene.
    """
    generator = np.random.default_rng(list(seed))
    canvas = draw_background(
        generator, width=side, height=side, clutter=int(generator.integers(0, 3))
    )
    size = int(generator.uniform(0.62, 0.95) * side)
    drawing = draw_entity(appearance, side=size, rotation=float(generator.uniform(-22, 22)))
    left, top = (int(value) for value in generator.integers(0, side - size + 1, size=2))
    canvas.paste(drawing, (left, top), drawing)
    gain, offset = generator.uniform(0.7, 1.15), generator.uniform(-20, 20)
    return relight(canvas, gain=float(gain), offset=float(offset))


def _find_spot(
    generator: np.random.Generator,
    placed: Sequence[Placed],
    sides: tuple[int, int],
    *,
    has_label: bool,
) -> tuple[int, int, int] | None:
    below = LABEL_ROWS * _LABEL_SCALE[sides == EGOCENTRIC_SIDES] if has_label else 0
    tries = generator.integers(sides[0], sides[1] + 1, size=_TRIES).tolist()
    across, down = generator.random((2, _TRIES)).tolist()
    for side, x, y in zip(tries, across, down, strict=True):
        height = side + below
        left = 4 + int(x * (WIDTH - side - 8))
        top = 4 + int(y * (HEIGHT - height - 8))
        if all(_apart(member, left, top, side, height) for member in placed):
            return left, top, side
    return None


def _apart(member: Placed, left: int, top: int, side: int, height: int) -> bool:
    gap = 6
    other_height = member.side + (LABEL_ROWS * _LABEL_SCALE[True] if member.label else 0)
    beside = left + side + gap < member.left or member.left + member.side + gap < left
    above = top + height + gap < member.top or member.top + other_height + gap < top
    return beside or above


def _paste_label(
    canvas: Image.Image, member: Placed, *, scale: int
) -> tuple[int, int, int, int] | None:
    if member.label is None:
        return None
    plate = draw_label(member.label, scale=scale)
    left = int(np.clip(member.left + (member.side - plate.width) // 2, 0, WIDTH - plate.width))
    top = min(member.top + member.side, HEIGHT - plate.height)
    canvas.paste(plate, (left, top))
    return left, top, left + plate.width, top + plate.height
