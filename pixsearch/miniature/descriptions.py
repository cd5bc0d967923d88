"""Turns of a conversation that say what stands where: dense labels for the first stage.

Places are cells of a grid over the picture, row and column from 1, so that finding a thing is
supervised by words and not by its mask alone.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from pixsearch.miniature.appearance import Appearance
from pixsearch.miniature.expressions import choose_expression, indefinite
from pixsearch.miniature.questions import Asker
from pixsearch.miniature.scenes import Placed, Scene

CELL = 40  # pixels
_TRIES = 20
_DESCRIBE = (
    "Describe the picture.",
    "What do you see, and in which cells?",
    "List what the picture shows.",
)
_WHICH_CELL = ("Which cell shows {x}?", "In which cell do you see {x}?", "Give the cell of {x}.")
_WHAT_IN_CELL = ("What does cell {x} show?", "What do you see in cell {x}?", "Describe cell {x}.")

Turn = tuple[str, str]  # what is asked, what is answered


def talk(scene: Scene, asker: Asker, *, num_questions: int) -> Iterator[Turn]:
    """Questions that the picture answers and what stands where, in any order.

    The whole description comes last, lest the other answers be read off it.
    """
    turns = [*_questions(scene, asker, num_questions), *place_turns(asker.generator, scene.placed)]
    for place in asker.generator.permutation(len(turns)):
        yield turns[place]
    yield description(asker.generator, scene.placed)


def _questions(scene: Scene, asker: Asker, count: int) -> Iterator[Turn]:
    """Up to `count` questions."""
    questions = (asker.without_search(scene, "") for _ in range(_TRIES))
    fitting = (question for question in questions if question is not None)
    for question in islice(fitting, count):
        yield question.text, question.answer


def place_turns(generator: np.random.Generator, scene: Sequence[Placed]) -> Iterator[Turn]:
    """One turn about each entity: where it is, or what is there. None gives another's answer."""
    for place, member in enumerate(scene):
        words = choose_expression(generator, scene, place)
        if words is not None and generator.random() < 0.5:
            yield _wording(generator, _WHICH_CELL).format(x=words), cell(member)
        else:
            yield _wording(generator, _WHAT_IN_CELL).format(x=cell(member)), noun(member.appearance)


def description(generator: np.random.Generator, scene: Sequence[Placed]) -> Turn:
    """All that is there, from left to right."""
    left_to_right = sorted(scene, key=lambda member: member.centre)
    described = ", ".join(f"{noun(m.appearance)} at {cell(m)}" for m in left_to_right)
    return _wording(generator, _DESCRIBE), described


def cell(member: Placed) -> str:
    """Row and column of the cell that holds the entity's centre.

    >>> from pixsearch.miniature.appearance import Appearance
    >>> look = Appearance(
    ...     kind="boat", silhouette=0, colour="red", trim="blue", emblem="disc", ink="white"
    ... )
    >>> cell(Placed(entity_id="t1", appearance=look, left=100, top=10, side=60, rotation=0.0))
    '2 4'
    """
    across, down = member.centre
    return f"{int(down // CELL) + 1} {int(across // CELL) + 1}"


def noun(look: Appearance) -> str:
    """What something looks like, with an article: "an orange boat"."""
    return indefinite(look.colour, look.kind)


def _wording(generator: np.random.Generator, forms: Sequence[str]) -> str:
    return forms[int(generator.integers(len(forms)))]
