"""Which scenes a world holds and what is asked about each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pixsearch.config import MiniatureOptions
from pixsearch.miniature.appearance import FOUNDATION_SEED
from pixsearch.miniature.entities import Entity, Split, draw_entities, of_split
from pixsearch.miniature.labels import label_word
from pixsearch.miniature.questions import Asker, Question
from pixsearch.miniature.scenes import Scene, arrange

_QUESTIONS_PER_SCENE = 2
_EGOCENTRIC_SHARE = {Split.train: 0.75, Split.eval: 0.7}
_PAIRED_SHARE = 0.7  # of couples of scenes in which one question is asked of both
_UNKNOWN_SHARE = 0.12  # of the entities of a scene
_LOOK_ALIKE_SHARE = 0.2  # of the cluttered scenes hold two of the same kind and colour
_LABEL_SHARE = 0.15  # of entities beside the paired one
_NO_IMAGE_SHARE = {Split.train: 0.2, Split.eval: 0.05}  # questions without an image, per scene
_FEWEST_OTHERS, _MOST_OTHERS = 2, 5  # entities beside the target of a cluttered scene
_TRIES = 40


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    scenes: tuple[Scene, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, kw_only=True)
class WorldPlan:
    """A whole world, not yet drawn."""

    entities: dict[str, Entity]
    splits: dict[Split, SplitPlan]


def check_seed(seed: int) -> None:
    """See that a world is none of those that the pre-trained parts saw.

    Raises:
        ValueError: it is one.
    """
    if not 0 <= seed < FOUNDATION_SEED:
        raise ValueError(
            f"miniature.seed={seed}: seeds from {FOUNDATION_SEED} on drew the worlds of "
            "the pre-trained parts; choose a lower one"
        )


def plan_world(options: MiniatureOptions) -> WorldPlan:
    """The world of one seed; the same options give the same world.

    Raises:
        ValueError: the seed is one of those that the pre-trained parts saw.
    """
    check_seed(options.seed)
    entities = draw_entities(seed=options.seed, count=options.num_entities)
    counts = {Split.train: options.num_train_scenes, Split.eval: options.num_eval_scenes}
    splits = {
        split: _plan_split(options.seed, split, entities, count) for split, count in counts.items()
    }
    return WorldPlan(entities=entities, splits=splits)


def _plan_split(seed: int, split: Split, entities: dict[str, Entity], count: int) -> SplitPlan:
    generator = np.random.default_rng([seed, 12, list(Split).index(split)])
    planner = _Planner(entities, split, generator, seed)
    scenes: list[Scene] = []
    questions: list[Question] = []
    while len(scenes) < count:
        couple, asked = planner.couple(len(scenes))
        scenes.extend(couple)
        questions.extend(asked)
    for number in range(round(count * _NO_IMAGE_SHARE[split])):
        questions.append(planner.question_without_image(f"{split}-text-{number:04d}"))
    return SplitPlan(scenes=tuple(scenes), questions=tuple(questions))


class _Planner:
    def __init__(
        self,
        entities: dict[str, Entity],
        split: Split,
        generator: np.random.Generator,
        seed: int,
    ) -> None:
        self.split = split
        self.generator = generator
        self.seed = seed
        self.asker = Asker(entities, split, generator)
        self.known = of_split(entities, split, known=True)
        self.unknown = of_split(entities, split, known=False)

    def couple(self, number: int) -> tuple[tuple[Scene, Scene], list[Question]]:
        """Two scenes of one kind with their questions, often one question of the same words."""
        egocentric = bool(self.generator.random() < _EGOCENTRIC_SHARE[self.split])
        paired = bool(self.generator.random() < _PAIRED_SHARE)
        for _ in range(_TRIES):
            targets = self._twins() if paired else self._pick(2)
            topic = self._label_topic(targets[0]) if paired else None
            couple = (
                self._scene(number, egocentric, targets[0], label_topic=topic),
                self._scene(number + 1, egocentric, targets[1], label_topic=None),
            )
            if topic is None:
                return couple, self._fill(couple, [])
            pair = self.asker.pair(couple, topic, f"{self.split}-{number:04d}-pair")
            if pair and pair[0].needs_search != pair[1].needs_search:
                return couple, self._fill(couple, list(pair))
        return couple, self._fill(couple, [])

    def question_without_image(self, id: str) -> Question:
        from_unknown = self.generator.random() < 0.12
        source = self.unknown if from_unknown else self.known
        return self.asker.without_image(source[int(self.generator.integers(len(source)))], id)

    def _fill(self, couple: tuple[Scene, Scene], questions: list[Question]) -> list[Question]:
        """Up to `_QUESTIONS_PER_SCENE` questions of each scene, those that are there counted."""
        for scene in couple:
            have = sum(question.scene_id == scene.id for question in questions)
            questions.extend(self._ask(scene, _QUESTIONS_PER_SCENE - have))
        return questions

    def _ask(self, scene: Scene, count: int) -> Iterator[Question]:
        for number in range(count):
            for _ in range(_TRIES):
                question = self.asker.about_scene(scene, f"{self.split}-{scene.id}-{number}")
                if question is not None:
                    yield question
                    break

    def _twins(self) -> list[Entity]:
        """Two known entities of one kind and colour."""
        while True:
            first = self._pick(1)[0]
            others = self._alike(first)
            if others:
                return [first, others[int(self.generator.integers(len(others)))]]

    def _alike(self, entity: Entity) -> list[Entity]:
        """The other known entities of its kind and colour."""
        look = (entity.appearance.kind, entity.appearance.colour)
        return [
            e
            for e in self.known
            if e.id != entity.id and (e.appearance.kind, e.appearance.colour) == look
        ]

    def _pick(self, count: int) -> list[Entity]:
        places = self.generator.choice(len(self.known), size=count, replace=False)
        return [self.known[int(place)] for place in places]

    def _label_topic(self, entity: Entity) -> str:
        topics = ["guild_country"] if entity.is_guild else ["material", "country"]
        return str(self.generator.choice(topics))

    def _scene(
        self, number: int, egocentric: bool, target: Entity, *, label_topic: str | None
    ) -> Scene:
        members = [target, *self._others(target)] if egocentric else [target]
        labels = self._labels(members, label_topic)
        placed = arrange(
            self.generator,
            [(entity.id, entity.appearance) for entity in members],
            egocentric=egocentric,
            labels=labels,
        )
        scene_seed = (self.seed, 13, list(Split).index(self.split), number)
        return Scene(
            id=f"{self.split}-{number:05d}", egocentric=egocentric, placed=placed, seed=scene_seed
        )

    def _others(self, target: Entity) -> list[Entity]:
        """Two to five more entities, now and then one that looks like the target."""
        count = int(self.generator.integers(_FEWEST_OTHERS, _MOST_OTHERS + 1))
        others = [entity for entity in self._pick(count + 1) if entity.id != target.id][:count]
        others = [self._or_unknown(entity) for entity in others]
        if self.generator.random() < _LOOK_ALIKE_SHARE:
            alike = self._alike(target)
            if alike:
                others[0] = alike[int(self.generator.integers(len(alike)))]
        unique = {entity.id: entity for entity in others}
        while len(unique) < _FEWEST_OTHERS:
            unique |= {entity.id: entity for entity in self._pick(1) if entity.id != target.id}
        return list(unique.values())

    def _or_unknown(self, entity: Entity) -> Entity:
        if self.generator.random() >= _UNKNOWN_SHARE:
            return entity
        return self.unknown[int(self.generator.integers(len(self.unknown)))]

    def _labels(self, members: Sequence[Entity], topic: str | None) -> dict[str, str]:
        labels = {
            entity.id: label_word(entity, self._label_topic(entity))
            for entity in members[1:]
            if self.generator.random() < _LABEL_SHARE
        }
        if topic is not None:
            labels[members[0].id] = label_word(members[0], topic)
        return labels
