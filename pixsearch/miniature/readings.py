"""Articles read beside a picture: which they are, what is asked, what is answered from them."""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice

import numpy as np

from pixsearch.miniature.descriptions import Turn
from pixsearch.miniature.entities import Entity, article
from pixsearch.miniature.questions import Asker, Question
from pixsearch.miniature.scenes import Scene
from pixsearch.miniature.templates import DONT_KNOW

MOST_ARTICLES = 5  # of things that are read at once: as many as a search returns
LACKING_SHARE = 0.15  # of things asked about have no article
TRIES = 60
_NEEDLESS_SHARE = 0.2  # of questions behind articles the picture itself answers
_KEPT_SHARE = 0.3  # of questions whose answer is not known, where most would be
_COMMON_ANSWERS = (DONT_KNOW, "yes", "no")


def read_beside(
    scene: Scene, read: dict[str, Entity], asker: Asker, *, count: int
) -> Iterator[Turn]:
    """Articles, then up to `count` questions about the picture, most of which they answer.

    Args:
        read: the entities whose articles stand there, by id.
    """
    questions = questions_about(scene, asker, needless_share=_NEEDLESS_SHARE)
    kept = mostly_known(questions, read, asker.generator)
    return behind_articles(kept, read, asker, count=count)


def articles_beside(scene: Scene, asker: Asker) -> list[Entity]:
    """Some of what the picture shows and others that resemble it, in any order."""
    generator = asker.generator
    shown = shown_in(scene, asker)
    there = [each for each in shown if each.known and generator.random() >= LACKING_SHARE]
    others = [resembling(each, asker) for each in shown]
    count = int(generator.integers(1, MOST_ARTICLES + 1))
    read = list({each.id: each for each in [*there, *others][:count]}.values())
    return [read[place] for place in generator.permutation(len(read))]


def shown_in(scene: Scene, asker: Asker) -> list[Entity]:
    """The entities of a scene as the asker knows them."""
    return [asker.entities[member.entity_id] for member in scene.placed]


def articles_of(entities: Iterable[Entity], asker: Asker) -> str:
    """Their articles, one after the other."""
    return " ".join(article(each, asker.entities) for each in entities)


def behind_articles(
    questions: Iterable[Question], read: dict[str, Entity], asker: Asker, *, count: int
) -> Iterator[Turn]:
    """Up to `count` questions; the articles stand before the first."""
    text = articles_of(read.values(), asker)
    for question, answer in islice(answered_anew(questions, read, set()), count):
        yield f"{text} {question}".strip(), answer
        text = ""


def questions_about(
    scene: Scene, asker: Asker, *, needless_share: float = 0.0
) -> Iterator[Question]:
    """Questions that suit the scene.

    Args:
        needless_share: of them are sure to need no article.
    """
    for _ in range(TRIES):
        needless = asker.generator.random() < needless_share
        ask = asker.without_search if needless else asker.about_scene
        if (question := ask(scene, "")) is not None:
            yield question


def answered_anew(
    questions: Iterable[Question], read: Collection[str], told: set[str]
) -> Iterator[Turn]:
    """Without those whose answer could be copied from an answer before.

    Common answers come at most as often as others, lest they fill the end.

    Args:
        told: the answers before; those that are given are added.
    """
    common, rare = 0, 0
    for question in questions:
        answer = answer_from(read, question)
        if answer in _COMMON_ANSWERS and common <= rare:
            common += 1
        elif answer not in _COMMON_ANSWERS and answer not in told:
            rare += 1
        else:
            continue
        told.add(answer)
        yield question.text, answer


def mostly_known(
    questions: Iterable[Question], read: Collection[str], generator: np.random.Generator
) -> Iterator[Question]:
    """Without most of those whose answer is neither shown nor read."""
    for question in questions:
        if answer_from(read, question) != DONT_KNOW or generator.random() < _KEPT_SHARE:
            yield question


def answer_from(read: Collection[str], question: Question) -> str:
    """The answer, if the articles that it needs are among those that were read."""
    told = all(step.entity_id in read for step in question.steps)
    return question.answer if told else DONT_KNOW


def resembling(entity: Entity, asker: Asker) -> Entity:
    """Another of its kind that the asker's split has an article about."""
    ids = list(asker.entities)
    while True:
        other = asker.entities[ids[int(asker.generator.integers(len(ids)))]]
        same_kind = other.appearance.kind == entity.appearance.kind
        if other.id != entity.id and same_kind and other.known and other.split is asker.split:
            return other
