"""Pre-rendered pictures with dense labels, from which the pre-trained parts learn.

All of it comes from a world of seed >= `FOUNDATION_SEED` and from the foundation's half of the
appearances, so that no entity of an evaluated world is among it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from PIL import Image, ImageFilter
from tqdm import tqdm
from transformers.image_utils import OPENAI_CLIP_MEAN

from pixsearch.config import ImageFit, RegionCrop
from pixsearch.images import fit_square
from pixsearch.miniature.appearance import (
    COLOURS,
    EMBLEMS,
    FOUNDATION_SEED,
    KINDS,
    Appearance,
    draw_appearance,
    draw_look_alike,
)
from pixsearch.miniature.drawing import draw_background
from pixsearch.miniature.scenes import (
    EGOCENTRIC_SIDES,
    HEIGHT,
    PORTRAIT_SIDES,
    WIDTH,
    DrawnScene,
    Placed,
    Scene,
    arrange,
    draw_entity,
    draw_photo,
    draw_scene,
    relight,
)
from pixsearch.miniature.vocabulary import LABEL_WORDS
from pixsearch.retrieval.crops import region_image

Item = TypeVar("Item")
Drawn = TypeVar("Drawn")

_EGOCENTRIC_SHARE = 0.8
_LABEL_SHARE = 0.5
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "colour": tuple(COLOURS),
    "trim": tuple(COLOURS),
    "emblem": EMBLEMS,
}
MOST_MEMBERS = 6
NOBODY = -1


@dataclass(frozen=True, kw_only=True)
class SceneBank:
    """Scenes as the tower and the segmenter see them.

    Attributes:
        squares: padded to a square, at the tower's size.
        places: for each pixel of `squares` the place in the scene's list of entities plus one.
        words: for each pixel of `squares` the label's word plus one.
        looks: for each place the class of each attribute, and last its label's word plus one, 0
            without a label; NOBODY beyond the last entity.
        members: for each place the entity's number; NOBODY beyond the last.
        wide: at the segmenter's size, longest side fitted; bottom left empty.
        instances: like `places`, in the scene's own pixels.
    """

    squares: UInt8[np.ndarray, "num_scenes side side 3"]
    places: UInt8[np.ndarray, "num_scenes side side"]
    words: UInt8[np.ndarray, "num_scenes side side"]
    looks: Int64[np.ndarray, "num_scenes most_members num_looks"]
    members: Int64[np.ndarray, "num_scenes most_members"]
    wide: UInt8[np.ndarray, "num_scenes height width 3"]
    instances: UInt8[np.ndarray, "num_scenes full_height full_width"]


@dataclass(frozen=True, kw_only=True)
class EntityBank:
    """Views of single entities: photos as in the knowledge base, crops as region queries see them.

    Attributes:
        look_alike: for each entity the number of one that differs in the emblem alone, or -1.
    """

    appearances: tuple[Appearance, ...]
    photos: UInt8[np.ndarray, "num_entities num_views side side 3"]
    crops: UInt8[np.ndarray, "num_entities num_views side side 3"]
    look_alike: Int64[np.ndarray, " num_entities"]


def build_entities(*, num_entities: int, seed: int, side: int, num_views: int = 3) -> EntityBank:
    """Draw the appearances (every third one a look-alike of the one before) and their views."""
    generator = np.random.default_rng([_checked(seed), 1])
    appearances, look_alike = _draw_appearances(generator, num_entities)
    draw = partial(_draw_views, seed=seed, side=side, num_views=num_views)
    views = _map(draw, list(enumerate(appearances)), "entity views")
    return EntityBank(
        appearances=tuple(appearances),
        photos=np.stack([photos for photos, _ in views]),
        crops=np.stack([crops for _, crops in views]),
        look_alike=look_alike,
    )


def build_scenes(entities: EntityBank, *, num_scenes: int, seed: int, side: int) -> SceneBank:
    """Draw scenes of the bank's entities, one in five of a single large one."""
    draw = partial(_draw_labelled_scene, entities.appearances, seed=_checked(seed), side=side)
    records = _map(draw, list(range(num_scenes)), "scenes")
    return SceneBank(**{name: np.stack([r[name] for r in records]) for name in records[0]})


def plan_scene(appearances: Sequence[Appearance], number: int, *, seed: int) -> Scene:
    """Scene `number` of a bank; an entity's id is its place in `appearances`."""
    generator = np.random.default_rng([seed, 3, number])
    egocentric = bool(generator.random() < _EGOCENTRIC_SHARE)
    count = int(generator.integers(3, MOST_MEMBERS + 1)) if egocentric else 1
    numbers = generator.choice(len(appearances), size=count, replace=False)
    labels = {
        str(chosen): str(generator.choice(LABEL_WORDS))
        for chosen in numbers
        if generator.random() < _LABEL_SHARE
    }
    members = [(str(chosen), appearances[chosen]) for chosen in numbers]
    placed = arrange(generator, members, egocentric=egocentric, labels=labels)
    return Scene(id=str(number), egocentric=egocentric, placed=placed, seed=(seed, 4, number))


def _map(function: Callable[[Item], Drawn], items: list[Item], title: str) -> list[Drawn]:
    """The function of every item, on all cores, with a bar."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(tqdm(pool.map(function, items, chunksize=32), total=len(items), desc=title))


def _checked(seed: int) -> int:
    if seed < FOUNDATION_SEED:
        raise ValueError(f"pre-training draws worlds of seed >= {FOUNDATION_SEED}, not {seed}")
    return seed


def _draw_appearances(
    generator: np.random.Generator, count: int
) -> tuple[list[Appearance], Int64[np.ndarray, " count"]]:
    appearances: list[Appearance] = []
    look_alike = np.full(count, -1)
    taken: set[Appearance] = set()
    while len(appearances) < count:
        number = len(appearances)
        twin = draw_look_alike(generator, appearances[-1], taken) if number % 3 == 2 else None
        if twin is not None:
            look_alike[number - 1], look_alike[number] = number, number - 1
        kind = str(generator.choice(KINDS))
        appearance = twin or draw_appearance(generator, kind=kind, for_foundation=True)
        if appearance in taken:
            continue
        appearances.append(appearance)
        taken.add(appearance)
    return appearances, look_alike


def _draw_views(
    numbered: tuple[int, Appearance], *, seed: int, side: int, num_views: int
) -> tuple[UInt8[np.ndarray, "views side side 3"], UInt8[np.ndarray, "views side side 3"]]:
    number, appearance = numbered
    generator = np.random.default_rng([seed, 2, number])
    photos = [draw_photo(appearance, (seed, 2, number, v), side=side) for v in range(num_views)]
    crops = [_draw_crop(generator, appearance, side) for _ in range(num_views)]
    return np.stack([np.asarray(i) for i in photos]), np.stack([np.asarray(i) for i in crops])


def _draw_crop(generator: np.random.Generator, appearance: Appearance, side: int) -> Image.Image:
    """A region query of the entity, its mask a little too wide or too narrow."""
    sides = EGOCENTRIC_SIDES if generator.random() < 0.7 else PORTRAIT_SIDES
    size = int(generator.integers(sides[0], sides[1] + 1))
    drawing = draw_entity(appearance, side=size, rotation=float(generator.uniform(-10, 10)))
    canvas = draw_background(generator, width=size + 12, height=size + 12, clutter=2)
    canvas.paste(drawing, (6, 6), drawing)
    gain, offset = generator.uniform(0.82, 1.08), generator.uniform(-12, 12)
    alpha = Image.new("L", canvas.size)
    alpha.paste(drawing.getchannel("A"), (6, 6))
    mask = np.asarray(_loosened(alpha, generator)) > 127
    lit = relight(canvas, gain=float(gain), offset=float(offset))
    crop = region_image(lit, mask, crop=RegionCrop.masked_crop, min_side=8, margin=0.1)
    return fit_square(crop, side, ImageFit.pad, mean=OPENAI_CLIP_MEAN)


def _loosened(alpha: Image.Image, generator: np.random.Generator) -> Image.Image:
    width = int(generator.choice([1, 3, 5]))
    if width == 1:
        return alpha
    grow = generator.random() < 0.6
    return alpha.filter(ImageFilter.MaxFilter(width) if grow else ImageFilter.MinFilter(3))


def _draw_labelled_scene(
    appearances: Sequence[Appearance], number: int, *, seed: int, side: int
) -> dict[str, np.ndarray]:
    """The fields of `SceneBank` for one scene."""
    scene = plan_scene(appearances, number, seed=seed)
    drawn = draw_scene(scene)
    placed = scene.placed
    numbers = np.array([int(member.entity_id) for member in placed])
    instances = _numbered(drawn.masks)
    wide = drawn.image.resize((side, side * HEIGHT // WIDTH), Image.Resampling.BILINEAR)
    beyond = (0, MOST_MEMBERS - len(placed))
    return {
        "squares": np.asarray(fit_square(drawn.image, side, ImageFit.pad, mean=OPENAI_CLIP_MEAN)),
        "places": _in_square(instances, side),
        "words": _in_square(_plates(placed, drawn), side),
        "looks": np.pad(_classes(placed), (beyond, (0, 0)), constant_values=NOBODY),
        "members": np.pad(numbers, beyond, constant_values=NOBODY),
        "wide": np.asarray(wide),
        "instances": instances,
    }


def _numbered(masks: Bool[np.ndarray, "num height width"]) -> UInt8[np.ndarray, "height width"]:
    numbers = np.arange(1, len(masks) + 1, dtype=np.uint8)
    return (masks * numbers[:, None, None]).sum(0, dtype=np.uint8)


def _plates(placed: Sequence[Placed], drawn: DrawnScene) -> UInt8[np.ndarray, "height width"]:
    plates = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for member, box in zip(placed, drawn.label_boxes, strict=True):
        if box is not None:
            word = LABEL_WORDS.index(str(member.label)) + 1
            plates[box[1] : box[3], box[0] : box[2]] = word
    return plates


def _classes(placed: Sequence[Placed]) -> Int64[np.ndarray, "num_members num_looks"]:
    classes = [
        [values.index(getattr(member.appearance, name)) for name, values in ATTRIBUTES.items()]
        for member in placed
    ]
    labels = [LABEL_WORDS.index(member.label) + 1 if member.label else 0 for member in placed]
    return np.column_stack([classes, labels])


def _in_square(
    plane: UInt8[np.ndarray, "height width"], side: int
) -> UInt8[np.ndarray, "side side"]:
    """The plane padded and shrunk as `fit_square` does the picture, by the nearest pixel."""
    above = (WIDTH - HEIGHT) // 2
    square = np.pad(plane, ((above, WIDTH - HEIGHT - above), (0, 0)))
    middle = ((np.arange(side) + 0.5) * WIDTH / side).astype(int)
    return square[np.ix_(middle, middle)]
