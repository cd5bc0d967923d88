"""What the language model is pre-trained on: talk about pictures, and reading of articles.

None of it holds a search, a mask or an entity of an evaluated world.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from pixsearch.chat import Conversation, Message, Role, Text
from pixsearch.miniature.appearance import FOUNDATION_SEED, Appearance
from pixsearch.miniature.descriptions import Turn, talk, where_turns
from pixsearch.miniature.entities import Entity, Split, entities_of_looks
from pixsearch.miniature.questions import Asker, Question
from pixsearch.miniature.readings import (
    LACKING_SHARE,
    MOST_ARTICLES,
    TRIES,
    answer_from,
    answered_anew,
    articles_beside,
    articles_of,
    behind_articles,
    mostly_known,
    questions_about,
    read_beside,
    resembling,
    shown_in,
)
from pixsearch.miniature.scenes import Scene
from pixsearch.miniature.templates import DONT_KNOW
from pixsearch.miniature.vocabulary import COUNTRIES

_QUESTIONS_PER_SCENE = 4
_QUESTIONS_PER_READING = 16  # at most; many: to find the right article is learned from them alone
_QUESTIONS_PER_PICTURE = 16  # with articles, at most
_QUESTIONS_PER_GLANCE = 12  # at most
_MOST_MAKERS = 2  # whose articles are read beside those of their things
_FIRST_SHARE = 0.1  # of questions in a reading say "it" and mean the first article
_OFTEN_LACKING_SHARE = 0.3  # the same where a picture was searched for articles
_NEEDLESS_SHARE = 0.5  # of questions at a glance or before articles the picture itself answers
_LOOKS_FIRST_SHARE = 0.5  # of questions that need articles are first answered by what is seen
_FROM_PICTURE_SHARE = 0.5  # of articles that are not needed are of other things in the picture
_QUESTIONS_BEFORE_ARTICLES = 3
_MORE_QUESTIONS = 3  # about the same articles
_GROUNDING_SHARE = 0.5


class Teacher:
    """Draws conversations about the bank's entities, which get names and facts of their own."""

    def __init__(self, looks: Sequence[Appearance], *, seed: int) -> None:
        """
        Args:
            looks: an entity's id is its place among them.
        """
        if seed < FOUNDATION_SEED:
            raise ValueError(f"pre-training reads worlds of seed >= {FOUNDATION_SEED}, not {seed}")
        self.entities = entities_of_looks(looks, seed=seed)
        self.things = [entity for entity in self.entities.values() if not entity.is_guild]

    def about_scene(self, scene: Scene, generator: np.random.Generator) -> Conversation:
        """What the picture shows and where."""
        asker = self._asker(generator)
        told = talk(
            scene, asker, num_questions=_QUESTIONS_PER_SCENE, grounding_share=_GROUNDING_SHARE
        )
        return _conversation(told, has_image=True)

    def lookups(self, scene: Scene, generator: np.random.Generator) -> Conversation:
        """In which cells things stand, and nothing else: much that only the picture tells."""
        turns = where_turns(generator, scene.placed, grounding_share=_GROUNDING_SHARE)
        return _conversation(turns, has_image=True)

    def reading(self, generator: np.random.Generator) -> Conversation:
        """Articles in any order, then questions by name or by looks.

        What the articles do not say is not known.
        """
        count = int(generator.integers(1, MOST_ARTICLES + 1))  # one is easy and comes first
        things = [self._pick(generator) for _ in range(count)]
        asker = self._asker(generator)
        read = _with_makers(things, asker)
        questions = (self._about_article(asker, read) for _ in range(TRIES))
        turns = behind_articles(questions, read, asker, count=_QUESTIONS_PER_READING)
        return _conversation(turns, has_image=False)

    def glances(self, scene: Scene, generator: np.random.Generator) -> Conversation:
        """Questions of every kind without an article: what the picture does not show is unknown."""
        asker = self._asker_about(scene, generator)
        questions = questions_about(scene, asker, needless_share=_NEEDLESS_SHARE)
        turns = behind_articles(questions, {}, asker, count=_QUESTIONS_PER_GLANCE)
        return _conversation(turns, has_image=True)

    def picture_with_articles(self, scene: Scene, generator: np.random.Generator) -> Conversation:
        """Articles of some of the things in the picture and of others that resemble them."""
        asker = self._asker_about(scene, generator)
        read = _with_makers(articles_beside(scene, asker), asker)
        turns = read_beside(scene, read, asker, count=_QUESTIONS_PER_PICTURE)
        return _conversation(turns, has_image=True)

    def articles_to_read(self, generator: np.random.Generator) -> Conversation:
        """A question is followed by articles that may answer it; then it goes on about them."""
        asker = self._asker(generator)
        turns: list[Turn] = []
        for _ in range(_QUESTIONS_BEFORE_ARTICLES):
            question = _about_one(asker, self._pick(generator))
            read = self._articles_for(question, asker, lacking_share=LACKING_SHARE)
            turns += self._with_articles(question, read, asker)
            entity = asker.entities[question.steps[0].entity_id]
            more = [asker.without_image(entity, "") for _ in range(_MORE_QUESTIONS)]
            turns += [(each.text, answer_from(read, each)) for each in more]
        return _conversation(turns, has_image=False)

    def articles_to_look_at(self, scene: Scene, generator: np.random.Generator) -> Conversation:
        """As `articles_to_read`, about a picture; some questions need the articles, some not."""
        asker = self._asker_about(scene, generator)
        shown = shown_in(scene, asker)
        turns: list[Turn] = []
        told: set[str] = set()
        asked = questions_about(scene, asker, needless_share=_NEEDLESS_SHARE)
        anew = (question for question in asked if question.answer not in told)
        for question in islice(anew, _QUESTIONS_BEFORE_ARTICLES):
            read = self._articles_for(
                question, asker, lacking_share=_OFTEN_LACKING_SHARE, shown=shown
            )
            turns += self._with_articles(question, read, asker)
            told |= {word for _, answer in turns for word in (answer, *answer.split())}
            further = questions_about(scene, asker, needless_share=_NEEDLESS_SHARE)
            more = answered_anew(mostly_known(further, read, generator), read, told)
            turns += islice(more, _MORE_QUESTIONS)
        return _conversation(turns, has_image=True)

    def with_article_at(
        self, scene: Scene, generator: np.random.Generator, *, place: int | None
    ) -> Conversation | None:
        """Five articles between a question and itself; the one that it needs stands at `place`.

        All five are of things of the same kind.

        Args:
            place: None if it is not among them; the answer is then not known.

        Returns:
            None if no question of the scene needs one article.
        """
        asker = self._asker_about(scene, generator)
        questions = questions_about(scene, asker)
        one_article = (q for q in questions if len(q.steps) == 1 and q.answer != DONT_KNOW)
        question = next(one_article, None)
        if question is None:
            return None
        needed = asker.entities[question.steps[0].entity_id]
        read: list[Entity] = []
        while len(read) < MOST_ARTICLES:
            if len(read) == place:
                read.append(needed)
            elif (other := resembling(needed, asker)) not in read:
                read.append(other)
        text = articles_of(read, asker)
        answer = DONT_KNOW if place is None else question.answer
        return _conversation([(f"{question.text} {text} {question.text}", answer)], has_image=True)

    def _with_articles(
        self, question: Question, read: dict[str, Entity], asker: Asker
    ) -> Iterator[Turn]:
        """The question, then the articles, then the question again, as behind evidence.

        In between, of some, what it asks about looks like.
        """
        text = articles_of(read.values(), asker)
        seen = question.steps[0].phrase if question.steps else None
        if seen is not None and asker.generator.random() < _LOOKS_FIRST_SHARE:
            yield question.text, seen
            yield f"{text} {question.text}", answer_from(read, question)
        else:
            yield f"{question.text} {text} {question.text}", answer_from(read, question)

    def _articles_for(
        self,
        question: Question,
        asker: Asker,
        *,
        lacking_share: float,
        shown: Sequence[Entity] = (),
    ) -> dict[str, Entity]:
        """Those that the question needs, some left out, and others, in any order.

        If the right one stood first more often, the model would read the first and look no further.

        Args:
            shown: half of the others are of these; the rest are of the kind that is needed.
        """
        generator = asker.generator
        needed = [asker.entities[step.entity_id] for step in question.steps]
        read = [each for each in needed if generator.random() >= lacking_share]
        count = int(generator.integers(1, MOST_ARTICLES + 1))
        others = [each for each in shown if each not in needed]
        while len(read) < count:
            if others and generator.random() < _FROM_PICTURE_SHARE:
                read.append(others.pop(int(generator.integers(len(others)))))
            else:
                like = needed[0] if needed else self._pick(generator)
                read.append(resembling(like, asker))
        generator.shuffle(read)
        return {each.id: each for each in read}

    def _as_labelled(self, scene: Scene) -> dict[str, Entity]:
        """The entities whose label shows a fact, with that fact."""
        labelled = {}
        for member in scene.placed:
            entity = self.entities[member.entity_id]
            if member.label in COUNTRIES:
                labelled[entity.id] = replace(entity, country=member.label)
            elif member.label is not None and not entity.is_guild:
                labelled[entity.id] = replace(entity, material=member.label)
        return labelled

    def _about_article(self, asker: Asker, read: dict[str, Entity]) -> Question:
        generator = asker.generator
        if generator.random() < _FIRST_SHARE:
            first = next(iter(read.values()))
            return asker.without_image(first, "", words="it")
        lacking = generator.random() < LACKING_SHARE
        entity = self._pick(generator) if lacking else read[str(generator.choice(list(read)))]
        fitting = [each for each in read.values() if _same_words(each, entity)]
        if len(fitting) <= 1:
            return _about_one(asker, entity)
        return asker.without_image(entity, "")

    def _pick(self, generator: np.random.Generator) -> Entity:
        return self.things[int(generator.integers(len(self.things)))]

    def _asker(self, generator: np.random.Generator) -> Asker:
        return Asker(self.entities, Split.train, generator)

    def _asker_about(self, scene: Scene, generator: np.random.Generator) -> Asker:
        return Asker(self.entities | self._as_labelled(scene), Split.train, generator)


def _about_one(asker: Asker, entity: Entity) -> Question:
    """By name or by looks."""
    words = f"the {entity.appearance.colour} {entity.appearance.kind}"
    by_looks = asker.generator.random() < 0.5
    return asker.without_image(entity, "", words=words if by_looks else None)


def _with_makers(things: Sequence[Entity], asker: Asker) -> dict[str, Entity]:
    """The things and some of their makers by id, in any order."""
    ids = [each.maker_id for each in things if each.maker_id is not None]
    makers = [asker.entities[id] for id in asker.generator.permutation(ids)[:_MOST_MAKERS]]
    read = [*things, *makers]
    return {read[place].id: read[place] for place in asker.generator.permutation(len(read))}


def _same_words(one: Entity, other: Entity) -> bool:
    return (one.appearance.colour, one.appearance.kind) == (
        other.appearance.colour,
        other.appearance.kind,
    )


def _conversation(turns: Iterable[Turn], *, has_image: bool) -> Conversation:
    messages = tuple(
        Message(role=role, parts=(Text(text=words),))
        for turn in turns
        for role, words in zip((Role.USER, Role.ASSISTANT), turn, strict=True)
    )
    return Conversation(messages=messages, has_image=has_image)
