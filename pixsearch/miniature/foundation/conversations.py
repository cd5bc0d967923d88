"""What the language model is pre-trained on: talk about pictures, and reading of articles.

Neither holds a search, a mask or an entity of an evaluated world.
"""

from collections.abc import Iterable

import numpy as np

from pixsearch.chat import Conversation, Message, Role, Text
from pixsearch.miniature.appearance import FOUNDATION_SEED
from pixsearch.miniature.descriptions import Turn, talk
from pixsearch.miniature.entities import Entity, Split, article, draw_entities, of_split
from pixsearch.miniature.questions import Asker
from pixsearch.miniature.scenes import Scene
from pixsearch.miniature.templates import DONT_KNOW

_QUESTIONS_PER_SCENE = 3
_THINGS, _MAKERS = 3, 2  # whose articles are read at once: about as many as a search returns
_QUESTIONS_PER_READING = 6
_LACKING_SHARE = 0.15  # of questions are about somebody else


def about_scene(scene: Scene, generator: np.random.Generator) -> Conversation:
    """What the picture shows and where."""
    asker = Asker({}, Split.train, generator)
    return _conversation(talk(scene, asker, num_questions=_QUESTIONS_PER_SCENE), has_image=True)


class Reader:
    """Questions about articles that stand before them."""

    def __init__(self, seed: int) -> None:
        if seed < FOUNDATION_SEED:
            raise ValueError(f"pre-training reads worlds of seed >= {FOUNDATION_SEED}, not {seed}")
        self.entities = draw_entities(seed=seed, count=4000)
        self.known = of_split(self.entities, Split.train, known=True)

    def draw(self, generator: np.random.Generator) -> Conversation:
        """Articles in any order, then questions. What they do not say is not known."""
        asker = Asker(self.entities, Split.train, generator)
        things = [self._pick(generator) for _ in range(_THINGS)]
        makers = [self.entities[each.maker_id] for each in things[:_MAKERS] if each.maker_id]
        read = {each.id: each for each in (*things, *makers)}
        order = generator.permutation(list(read))
        turns = []
        for _ in range(_QUESTIONS_PER_READING):
            lacking = generator.random() < _LACKING_SHARE
            about = self._pick(generator) if lacking else read[str(generator.choice(order))]
            question = asker.without_image(about, "")
            told = all(step.entity_id in read for step in question.steps)
            turns.append((question.text, question.answer if told else DONT_KNOW))
        articles = " ".join(article(read[id], self.entities) for id in order)
        turns[0] = (f"{articles} {turns[0][0]}", turns[0][1])
        return _conversation(turns, has_image=False)

    def _pick(self, generator: np.random.Generator) -> Entity:
        return self.known[int(generator.integers(len(self.known)))]


def _conversation(turns: Iterable[Turn], *, has_image: bool) -> Conversation:
    messages = tuple(
        Message(role=role, parts=(Text(text=words),))
        for turn in turns
        for role, words in zip((Role.USER, Role.ASSISTANT), turn, strict=True)
    )
    return Conversation(messages=messages, has_image=has_image)
