"""The invented entities of a world: names, looks, facts that refer to each other, articles."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pixsearch.miniature.appearance import (
    FOUNDATION_SEED,
    KINDS,
    Appearance,
    draw_appearance,
    draw_look_alike,
)
from pixsearch.miniature.vocabulary import COUNTRIES, MATERIALS

GUILD_KIND = "banner"  # a guild is seen by its banner
THING_KINDS = tuple(kind for kind in KINDS if kind != GUILD_KIND)

# Each syllable is one token of the miniature's tokenizer, so that a name is two tokens.
SYLLABLES = tuple(
    onset + vowel + coda for onset in "bdfgklmprtvz" for vowel in "aeiou" for coda in "lnr"
)
_LOOK_ALIKE_SHARE = 0.3
NUM_FOUNDATION_NAMES = 2000  # the first of the draw, which no evaluated world uses
_GUILD_SHARE = 1 / 6


class Split(StrEnum):
    """Which pictures and texts an entity may occur in."""

    train = "train"
    eval = "eval"


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A thing (boat, tower, …) or a guild.

    Attributes:
        known: whether the knowledge base has an article about it.
        country: where a thing is kept; where a guild comes from.
        year: in which a thing was made or a guild founded.
        material, maker_id: of things alone.
    """

    id: str
    name: str
    split: Split
    known: bool
    appearance: Appearance
    country: str
    year: int
    material: str | None = None
    maker_id: str | None = None

    @property
    def is_guild(self) -> bool:
        return self.appearance.kind == GUILD_KIND


def draw_entities(*, seed: int, count: int) -> dict[str, Entity]:
    """All entities of a world by id: `count` known ones, half of each split, a tenth more unknown.

    Guilds come first, because things name them as makers; a maker is of the thing's own split. No
    evaluated world has a name that the pre-trained parts have read.
    """
    generator = np.random.default_rng([seed, 11])
    known_before = _foundation_names() if seed < FOUNDATION_SEED else []
    names = _draw_names(generator, 2 * count, reserved=known_before)
    taken: set[Appearance] = set()
    entities: dict[str, Entity] = {}
    for split in Split:
        for known, number in ((True, count // 2), (False, count // 20)):
            num_guilds = round(number * _GUILD_SHARE) if known else 0
            for place in range(number):
                kind = GUILD_KIND if place < num_guilds else str(generator.choice(THING_KINDS))
                appearance = _draw_appearance(generator, kind, taken, entities, split, known)
                entity_id = f"{'g' if kind == GUILD_KIND else 't'}{len(entities):04d}"
                entities[entity_id] = _draw_entity(
                    generator, entity_id, names[len(entities)], split, known, appearance, entities
                )
    return entities


def entities_of_looks(looks: Sequence[Appearance], *, seed: int) -> dict[str, Entity]:
    """Entities that look so, all of them known; an id is a place among the looks.

    Raises:
        ValueError: more than there are names set aside for pre-training.
    """
    if len(looks) > NUM_FOUNDATION_NAMES:
        raise ValueError(
            f"{len(looks)} entities to pre-train on: {NUM_FOUNDATION_NAMES} names are set aside"
        )
    generator = np.random.default_rng([seed, 19])
    names = _draw_names(generator, len(looks))
    guilds_first = sorted(range(len(looks)), key=lambda place: looks[place].kind != GUILD_KIND)
    entities: dict[str, Entity] = {}
    for place in guilds_first:
        entities[str(place)] = _draw_entity(
            generator, str(place), names[place], Split.train, True, looks[place], entities
        )
    return entities


def article(entity: Entity, entities: dict[str, Entity]) -> str:
    """What the knowledge base says of an entity: one fact a sentence, each with its name."""
    look = entity.appearance
    drawn = f"{look.colour} {look.kind} with {look.trim} trim and a {look.ink} {look.emblem}"
    if entity.is_guild:
        facts = (f"is a guild with a {drawn}", f"is based in {entity.country}")
        facts += (f"was founded in {entity.year}",)
    else:
        assert entity.maker_id is not None
        facts = (
            f"is a {drawn}",
            f"is made of {entity.material}",
            f"was made by {entities[entity.maker_id].name}",
            f"was made in {entity.year}",
            f"is kept in {entity.country}",
        )
    return " ".join(f"{entity.name} {fact}." for fact in facts)


def of_split(entities: dict[str, Entity], split: Split, *, known: bool) -> list[Entity]:
    """The entities of one split that are, or are not, in the knowledge base."""
    return [e for e in entities.values() if e.split is split and e.known is known]


def _foundation_names() -> list[str]:
    """The names that the pre-trained parts have read, and more of the same draw."""
    return _draw_names(np.random.default_rng([FOUNDATION_SEED, 19]), NUM_FOUNDATION_NAMES)


def _draw_names(
    generator: np.random.Generator, count: int, *, reserved: Sequence[str] = ()
) -> list[str]:
    names: dict[str, None] = {}
    other_words = {*reserved, *COUNTRIES, *(material.capitalize() for material in MATERIALS)}
    while len(names) < count:
        name = "".join(generator.choice(SYLLABLES, size=2)).capitalize()
        if name not in other_words:
            names[name] = None
    return list(names)


def _draw_appearance(
    generator: np.random.Generator,
    kind: str,
    taken: set[Appearance],
    entities: dict[str, Entity],
    split: Split,
    known: bool,
) -> Appearance:
    """A new appearance, now and then one that differs from another in the emblem alone."""
    if known and kind != GUILD_KIND and generator.random() < _LOOK_ALIKE_SHARE:
        originals = [e for e in of_split(entities, split, known=True) if e.appearance.kind == kind]
        if originals:
            original = originals[int(generator.integers(len(originals)))]
            twin = draw_look_alike(generator, original.appearance, taken)
            if twin is not None:
                taken.add(twin)
                return twin
    while True:
        appearance = draw_appearance(generator, kind=kind, for_foundation=False)
        if appearance not in taken:
            taken.add(appearance)
            return appearance


def _draw_entity(
    generator: np.random.Generator,
    entity_id: str,
    name: str,
    split: Split,
    known: bool,
    appearance: Appearance,
    entities: dict[str, Entity],
) -> Entity:
    is_guild = appearance.kind == GUILD_KIND
    return Entity(
        id=entity_id,
        name=name,
        split=split,
        known=known,
        appearance=appearance,
        country=str(generator.choice(COUNTRIES)),
        year=int(generator.integers(1000, 2000)),
        material=None if is_guild else str(generator.choice(MATERIALS)),
        maker_id=None if is_guild else _choose_maker(generator, entities, split),
    )


def _choose_maker(generator: np.random.Generator, entities: dict[str, Entity], split: Split) -> str:
    guilds: Sequence[str] = [e.id for e in of_split(entities, split, known=True) if e.is_guild]
    return guilds[int(generator.integers(len(guilds)))]
