"""Pre-rendered pictures with dense labels, from which the pre-trained parts learn.

All of it comes from a world of seed >= `FOUNDATION_SEED` and from the foundation's half of the
appearances, so that no entity of an evaluated world is among it.
"""

from dataclasses import dataclass

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

PATCHES_PER_SIDE = 8
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "colour": tuple(COLOURS),
    "trim": tuple(COLOURS),
    "emblem": EMBLEMS,
}
NOTHING = -100  # label of a patch to which the attribute does not apply
_COVERED = 0.12  # of a patch's area, from which on it counts as showing the thing


@dataclass(frozen=True, kw_only=True)
class SceneBank:
    """Scenes as the tower and the segmenter see them.

    Attributes:
        squares: padded to a square, at the tower's size.
        wide: at the segmenter's size, longest side fitted; bottom left empty.
        instances: for each pixel of `wide` the place in the scene's list of entities plus one.
        attributes: for each attribute and patch its class, or NOTHING.
        kinds_or_empty: for each patch the kind plus one, 0 where it shows no entity.
        words: for each patch the label's word plus one, 0 where it shows no label.
        members: entity numbers of each scene, -1 padded.
    """

    squares: UInt8[np.ndarray, "num_scenes side side 3"]
    wide: UInt8[np.ndarray, "num_scenes height width 3"]
    instances: UInt8[np.ndarray, "num_scenes full_height full_width"]
    attributes: dict[str, Int64[np.ndarray, "num_scenes num_patches"]]
    kinds_or_empty: Int64[np.ndarray, "num_scenes num_patches"]
    words: Int64[np.ndarray, "num_scenes num_patches"]
    members: Int64[np.ndarray, "num_scenes most_members"]


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
    shape = (num_entities, num_views, side, side, 3)
    photos, crops = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    for number, appearance in enumerate(tqdm(appearances, desc="entity views")):
        for view in range(num_views):
            photos[number, view] = draw_photo(appearance, (seed, 2, number, view), side=side)
            crops[number, view] = _draw_crop(generator, appearance, side)
    return EntityBank(
        appearances=tuple(appearances), photos=photos, crops=crops, look_alike=look_alike
    )


def build_scenes(entities: EntityBank, *, num_scenes: int, seed: int, side: int) -> SceneBank:
    """Draw scenes of the bank's entities, one in five of a single large one."""
    generator = np.random.default_rng([_checked(seed), 3])
    records = [
        _draw_labelled_scene(generator, entities, (seed, 4, number), side)
        for number in tqdm(range(num_scenes), desc="scenes")
    ]
    stacked = {key: np.stack([record[key] for record in records]) for key in records[0]}
    attributes = {name: stacked.pop(name) for name in ATTRIBUTES}
    return SceneBank(attributes=attributes, **stacked)


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
    generator: np.random.Generator, entities: EntityBank, seed: tuple[int, ...], side: int
) -> dict[str, np.ndarray]:
    egocentric = bool(generator.random() < 0.8)
    count = int(generator.integers(3, 7)) if egocentric else 1
    numbers = generator.choice(len(entities.appearances), size=count, replace=False)
    members = [(str(number), entities.appearances[number]) for number in numbers]
    labels = {
        str(number): str(generator.choice(LABEL_WORDS))
        for number in numbers
        if generator.random() < 0.5
    }
    placed = arrange(generator, members, egocentric=egocentric, labels=labels)
    drawn = draw_scene(Scene(id="", egocentric=egocentric, placed=placed, seed=seed))
    record = _patch_labels(placed, drawn)
    square = fit_square(drawn.image, side, ImageFit.pad, mean=OPENAI_CLIP_MEAN)
    record["squares"] = np.asarray(square)
    record["wide"] = np.asarray(
        drawn.image.resize((side, side * HEIGHT // WIDTH), Image.Resampling.BILINEAR)
    )
    numbered = drawn.masks * np.arange(1, count + 1, dtype=np.uint8)[:, None, None]
    record["instances"] = numbered.sum(0, dtype=np.uint8)
    record["members"] = np.pad(numbers, (0, 6 - count), constant_values=-1)
    return record


def _patch_labels(placed: tuple[Placed, ...], drawn: DrawnScene) -> dict[str, np.ndarray]:
    shares = np.stack([_patch_shares(mask) for mask in drawn.masks])
    winner, covered = shares.argmax(0), shares.max(0) > _COVERED
    record: dict[str, np.ndarray] = {}
    for name, values in ATTRIBUTES.items():
        classes = np.array([values.index(getattr(member.appearance, name)) for member in placed])
        record[name] = np.where(covered, classes[winner], NOTHING)
    record["kinds_or_empty"] = np.where(covered, record["kind"] + 1, 0)
    record["words"] = np.zeros(PATCHES_PER_SIDE**2, dtype=np.int64)
    for member, box in zip(placed, drawn.label_boxes, strict=True):
        if box is None:
            continue
        plate = np.zeros((HEIGHT, WIDTH), dtype=bool)
        plate[box[1] : box[3], box[0] : box[2]] = True
        record["words"][_patch_shares(plate) > _COVERED] = LABEL_WORDS.index(str(member.label)) + 1
    return record


def _patch_shares(mask: Bool[np.ndarray, "height width"]) -> np.ndarray:
    """Share of each patch of the padded square that the mask covers."""
    above = (WIDTH - HEIGHT) // 2
    square = np.pad(mask, ((above, WIDTH - HEIGHT - above), (0, 0)))
    cell = WIDTH // PATCHES_PER_SIDE
    return square.reshape(PATCHES_PER_SIDE, cell, PATCHES_PER_SIDE, cell).mean((1, 3)).reshape(-1)
