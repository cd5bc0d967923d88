"""Questions about scenes and entities, each with its answer and the searches that lead to it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from pixsearch.config import QueryType
from pixsearch.miniature.appearance import COLOURS, KINDS
from pixsearch.miniature.entities import Entity, Split
from pixsearch.miniature.expressions import as_seen, choose_expression, expressions, indefinite
from pixsearch.miniature.labels import words_of
from pixsearch.miniature.scenes import Scene
from pixsearch.miniature.templates import DONT_KNOW, QUESTIONS

Entities = dict[str, Entity]
_PLURALS = {kind: kind if kind == "fish" else f"{kind}s" for kind in KINDS}
THING_TOPICS = ("name", "material", "country", "maker", "year")
GUILD_TOPICS = ("name", "guild_country")


class QuestionType(StrEnum):
    attribute = "attribute"
    counting = "counting"
    yes_no = "yes_no"
    label = "label"  # a label shows the answer, whether or not the question speaks of it
    identification = "identification"
    factoid = "factoid"
    two_hop = "two_hop"
    comparison = "comparison"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One search of the gold plan.

    Attributes:
        place: the entity's place in the scene, None for a text query.
        phrase: what is grounded before a query of a region or the whole image. It tells colour and
            kind, which the question often does not: evidence is then compared word by word.
        text: the words of a text query.
    """

    entity_id: str
    place: int | None = None
    phrase: str | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about a scene (or none), with all that scoring needs to know.

    Attributes:
        answer_kind: what sort of thing the answer is (name, material, country, …).
        steps: the gold plan; empty where no search is needed.
        pair: shared by two questions of the same wording of which one needs a search.
    """

    id: str
    scene_id: str | None
    text: str
    answer: str
    type: QuestionType
    answer_kind: str
    steps: tuple[Step, ...] = ()
    answerable: bool = True
    pair: str | None = None

    @property
    def needs_search(self) -> bool:
        return bool(self.steps)


class Asker:
    """Makes questions about one world; `split` chooses the wordings."""

    def __init__(self, entities: Entities, split: Split, generator: np.random.Generator) -> None:
        self.entities = entities
        self.split = split
        self.generator = generator

    def about_scene(self, scene: Scene, id: str) -> Question | None:
        """A question of a random type; None if the scene does not suit that type."""
        makers: dict[Callable[[Scene, str], Question | None], float] = {
            self._single_hop: 0.52,
            self._two_hop: 0.14 if scene.egocentric else 0.04,
            self._comparison: 0.14 if scene.egocentric else 0.0,
            self._colour: 0.07,
            self._count: 0.05,
            self._presence: 0.06,
            self._label: 0.04,
        }
        weights = np.array(list(makers.values()))
        chosen = self.generator.choice(len(makers), p=weights / weights.sum())
        return list(makers)[chosen](scene, id)

    def without_search(self, scene: Scene, id: str) -> Question | None:
        """A question that the picture itself answers."""
        makers = (self._colour, self._count, self._presence, self._label, self._from_label)
        return makers[int(self.generator.integers(len(makers)))](scene, id)

    def pair(self, scenes: tuple[Scene, Scene], topic: str, id: str) -> tuple[Question, ...]:
        """The same words about the first entity of two scenes; () if no words fit both."""
        options = [expressions(scene.placed, 0) for scene in scenes]
        shared = [options[0][s] for s in options[0] if options[0][s] == options[1].get(s)]
        if not shared:
            return ()
        words = str(self.generator.choice(shared))
        wording = self._wording(topic)
        asked = [
            self._fact(scene, f"{id}{part}", place=0, topic=topic, words=words, wording=wording)
            for scene, part in zip(scenes, "ab", strict=True)
        ]
        return tuple(replace(question, pair=id) for question in asked)

    def without_image(self, entity: Entity, id: str, *, words: str | None = None) -> Question:
        """A question that names its entity, or calls it by `words`; the search is by text."""
        topics = ["guild_country"] if entity.is_guild else ["material", "country", "maker", "year"]
        if not entity.is_guild and entity.known:
            topics.append("maker_country")
        if words is not None:
            topics.append("name")
        topic = str(self.generator.choice(topics))
        steps = [Step(entity_id=entity.id, text=entity.name)]
        if topic == "maker_country":
            maker = self._maker(entity)
            steps.append(Step(entity_id=maker.id, text=maker.name))
        return Question(
            id=id,
            scene_id=None,
            text=self._wording(topic).format(x=words or entity.name),
            answer=self._answer(entity, topic),
            type=QuestionType.two_hop if topic == "maker_country" else QuestionType.factoid,
            answer_kind=_answer_kind(topic),
            steps=tuple(steps),
            answerable=entity.known,
        )

    def _single_hop(self, scene: Scene, id: str) -> Question | None:
        place = int(self.generator.integers(len(scene.placed)))
        words = choose_expression(self.generator, scene.placed, place)
        if words is None:
            return None
        entity = self._entity(scene, place)
        topics = GUILD_TOPICS if entity.is_guild else THING_TOPICS
        if entity.is_guild and self.generator.random() < 0.15:
            topics = ("material", "year")  # of which a guild's article says nothing
        topic = str(self.generator.choice(topics))
        return self._fact(scene, id, place=place, topic=topic, words=words, wording=None)

    def _fact(
        self, scene: Scene, id: str, *, place: int, topic: str, words: str, wording: str | None
    ) -> Question:
        member, entity = scene.placed[place], self._entity(scene, place)
        shown = member.label in words_of(topic)
        lacking = entity.is_guild and topic not in GUILD_TOPICS
        answerable = shown or (entity.known and not lacking)
        step = Step(entity_id=entity.id, place=place, phrase=as_seen(words, member.appearance))
        if shown:
            question_type = QuestionType.label
        elif topic == "name":
            question_type = QuestionType.identification
        else:
            question_type = QuestionType.factoid
        return Question(
            id=id,
            scene_id=scene.id,
            text=(wording or self._wording(topic)).format(x=words),
            answer=str(member.label) if shown else self._answer(entity, topic, lacking=lacking),
            type=question_type,
            answer_kind=_answer_kind(topic),
            steps=() if shown else (step,),
            answerable=answerable,
        )

    def _two_hop(self, scene: Scene, id: str) -> Question | None:
        place = int(self.generator.integers(len(scene.placed)))
        words = choose_expression(self.generator, scene.placed, place)
        entity = self._entity(scene, place)
        if words is None or entity.is_guild or not entity.known:
            return None
        maker = self._maker(entity)
        return Question(
            id=id,
            scene_id=scene.id,
            text=self._wording("maker_country").format(x=words),
            answer=maker.country,
            type=QuestionType.two_hop,
            answer_kind="country",
            steps=(
                Step(entity_id=entity.id, place=place, phrase=as_seen(words, entity.appearance)),
                Step(entity_id=maker.id, text=maker.name),
            ),
        )

    def _comparison(self, scene: Scene, id: str) -> Question | None:
        """Two regions, then the older one's maker. Their years differ by a century at least."""
        if len(scene.placed) < 2:
            return None
        places = [int(p) for p in self.generator.choice(len(scene.placed), size=2, replace=False)]
        pair = [self._entity(scene, place) for place in places]
        words = [choose_expression(self.generator, scene.placed, place) for place in places]
        if None in words or any(e.is_guild or not e.known for e in pair):
            return None
        if pair[0].year // 100 == pair[1].year // 100:
            return None
        maker = self._maker(min(pair, key=lambda entity: entity.year))
        regions = [
            Step(entity_id=entity.id, place=place, phrase=as_seen(phrase, entity.appearance))
            for entity, place, phrase in zip(pair, places, words, strict=True)
        ]
        return Question(
            id=id,
            scene_id=scene.id,
            text=self._wording("older_maker_country").format(x=words[0], y=words[1]),
            answer=maker.country,
            type=QuestionType.comparison,
            answer_kind="country",
            steps=(*regions, Step(entity_id=maker.id, text=maker.name)),
        )

    def _colour(self, scene: Scene, id: str) -> Question | None:
        place = int(self.generator.integers(len(scene.placed)))
        colour = scene.placed[place].appearance.colour
        found = expressions(scene.placed, place)
        free = [words for words in found.values() if f"the {colour} " not in words]
        if not free:
            return None
        words = str(self.generator.choice(free))
        return self._plain(scene, id, "colour", words, colour, QuestionType.attribute)

    def _count(self, scene: Scene, id: str) -> Question:
        looks = [member.appearance for member in scene.placed]
        if self.generator.random() < 0.6:
            kind = str(self.generator.choice(KINDS))
            kind = kind if self.generator.random() < 0.3 else str(self.generator.choice(looks).kind)
            count = sum(look.kind == kind for look in looks)
            return self._plain(
                scene, id, "count", _PLURALS[kind], str(count), QuestionType.counting
            )
        colour = str(self.generator.choice(looks).colour)
        count = sum(look.colour == colour for look in looks)
        return self._plain(
            scene, id, "count", f"{colour} objects", str(count), QuestionType.counting
        )

    def _presence(self, scene: Scene, id: str) -> Question:
        looks = [member.appearance for member in scene.placed]
        there = {(look.colour, look.kind) for look in looks}
        colour, kind = sorted(there)[int(self.generator.integers(len(there)))]
        if self.generator.random() < 0.5:
            while (colour, kind) in there:
                colour = str(self.generator.choice(list(COLOURS)))
                kind = str(self.generator.choice(KINDS))
        answer = "yes" if (colour, kind) in there else "no"
        words = indefinite(colour, kind)
        return self._plain(scene, id, "presence", words, answer, QuestionType.yes_no)

    def _label(self, scene: Scene, id: str) -> Question | None:
        labelled = [place for place, member in enumerate(scene.placed) if member.label]
        if not labelled:
            return None
        place = labelled[int(self.generator.integers(len(labelled)))]
        words = choose_expression(self.generator, scene.placed, place)
        if words is None:
            return None
        label = str(scene.placed[place].label)
        return self._plain(scene, id, "label", words, label, QuestionType.label)

    def _from_label(self, scene: Scene, id: str) -> Question | None:
        """A fact that a label shows, the label not spoken of."""
        shown = [
            (place, topic)
            for place, member in enumerate(scene.placed)
            for topic in self._label_topics(scene, place)
            if member.label in words_of(topic)
        ]
        if not shown:
            return None
        place, topic = shown[int(self.generator.integers(len(shown)))]
        words = choose_expression(self.generator, scene.placed, place)
        if words is None:
            return None
        return self._fact(scene, id, place=place, topic=topic, words=words, wording=None)

    def _label_topics(self, scene: Scene, place: int) -> tuple[str, ...]:
        is_guild = self._entity(scene, place).is_guild
        return ("guild_country",) if is_guild else ("material", "country")

    def _plain(
        self, scene: Scene, id: str, topic: str, words: str, answer: str, type: QuestionType
    ) -> Question:
        return Question(
            id=id,
            scene_id=scene.id,
            text=self._wording(topic).format(x=words),
            answer=answer,
            type=type,
            answer_kind=topic,
        )

    def _wording(self, topic: str) -> str:
        forms = QUESTIONS[topic][self.split]
        return forms[int(self.generator.integers(len(forms)))]

    def _entity(self, scene: Scene, place: int) -> Entity:
        return self.entities[scene.placed[place].entity_id]

    def _maker(self, entity: Entity) -> Entity:
        assert entity.maker_id is not None
        return self.entities[entity.maker_id]

    def _answer(self, entity: Entity, topic: str, *, lacking: bool = False) -> str:
        if lacking or not entity.known:
            return DONT_KNOW
        match topic:
            case "name":
                return entity.name
            case "maker":
                return self._maker(entity).name
            case "maker_country":
                return self._maker(entity).country
            case "year":
                return str(entity.year)
            case "material":
                return str(entity.material)
        return entity.country


def gold_types(question: Question, *, egocentric: bool) -> tuple[QueryType, ...]:
    """Query types of the gold plan: region in a cluttered scene, image where there is one thing."""
    visual = QueryType.region if egocentric else QueryType.image
    return tuple(QueryType.text if step.text else visual for step in question.steps)


def _answer_kind(topic: str) -> str:
    return "country" if topic in ("maker_country", "guild_country") else topic
