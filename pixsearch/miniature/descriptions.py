"""Turns of a conversation that say what stands where: dense labels for the first stage.

Places are cells of a grid, so that finding a thing is supervised by words and not by its mask
alone. The grid is that of the tower's patches, over the picture padded to a square; a cell is one
token.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np

from pixsearch.chat import Grounded
from pixsearch.datasets.templates import ask, reply
from pixsearch.miniature.appearance import Appearance
from pixsearch.miniature.expressions import choose_expression, indefinite
from pixsearch.miniature.questions import Asker
from pixsearch.miniature.scenes import HEIGHT, WIDTH, Placed, Scene

CELL = 34  # pixels
CELLS = tuple(column + row for row in "STUVWXYZ" for column in "ABCDEFGH")
HARD_STYLES = ("side", "relation")  # they compare places and are learned last
_HARD_SHARE = 0.5  # of lookups take these where they can
_TRIES = 20
_TOLD_SHARES = (0.15, 0.7, 0.15)  # what a cell shows, where things are, all that is there
_DESCRIBE = (
    "Describe the picture.",
    "What do you see, and in which cells?",
    "List what the picture shows.",
)
_WHERE = ("Which cells show {x}?", "In which cells do you see {x}?", "Give the cells of {x}.")
_WHAT_IN_CELL = ("What does cell {x} show?", "What do you see in cell {x}?", "Describe cell {x}.")

Turn = tuple[str, str]  # what is asked, what is answered


def talk(
    scene: Scene, asker: Asker, *, num_questions: int, grounding_share: float = 0.0
) -> Iterator[Turn]:
    """Questions that the picture answers and what stands where.

    Only one turn tells in which cell a thing stands, lest it be read off the others instead of the
    picture.

    Args:
        grounding_share: see `where_turns`.
    """
    generator = asker.generator
    where = partial(where_turns, grounding_share=grounding_share)
    tells = generator.choice((_cell_turns, where, _description_turns), p=_TOLD_SHARES)
    yield from tells(generator, scene.placed)
    yield from _questions(scene, asker, num_questions)


def _questions(scene: Scene, asker: Asker, count: int) -> Iterator[Turn]:
    """Up to `count` questions."""
    questions = (asker.without_search(scene, "") for _ in range(_TRIES))
    fitting = (question for question in questions if question is not None)
    for question in islice(fitting, count):
        yield question.text, question.answer


def _cell_turns(generator: np.random.Generator, scene: Sequence[Placed]) -> Iterator[Turn]:
    """What stands in one cell."""
    for place in generator.permutation(len(scene)):
        member = scene[place]
        asked = _wording(generator, _WHAT_IN_CELL).format(x=cell(member))
        yield asked, noun(member.appearance)


def where_turns(
    generator: np.random.Generator, scene: Sequence[Placed], *, grounding_share: float
) -> Iterator[Turn]:
    """The cell of every thing that can be pointed at, said right after the words that point.

    Args:
        grounding_share: of turns in the words of grounding, which ask for masks elsewhere: for a
            model that is to learn masks next, never beside them.
    """
    favoured = HARD_STYLES if generator.random() < _HARD_SHARE else ()
    named = [
        (words, cell(scene[place]))
        for place in generator.permutation(len(scene)).tolist()
        if (words := choose_expression(generator, scene, place, favoured=favoured)) is not None
    ]
    while named:
        count = int(generator.integers(1, 7))
        asked, named = named[:count], named[count:]
        yield _where_turn(generator, asked, in_grounding_words=generator.random() < grounding_share)


def _where_turn(
    generator: np.random.Generator, asked: Sequence[tuple[str, str]], *, in_grounding_words: bool
) -> Turn:
    """In the words of grounding, what is said there to be masked is told in a cell."""
    phrases = [words for words, _ in asked]
    told = [f"{words} {where}" for words, where in asked]
    if not in_grounding_words:
        return _wording(generator, _WHERE).format(x=", ".join(phrases)), ", ".join(told)
    key = str(generator.integers(2**31))
    answer = "".join(
        part.phrase if isinstance(part, Grounded) else part.text for part in reply(told, key=key)
    )
    return ask(phrases, key=key), answer


def _description_turns(generator: np.random.Generator, scene: Sequence[Placed]) -> Iterator[Turn]:
    """All that is there, from left to right."""
    left_to_right = sorted(scene, key=lambda member: member.centre)
    described = ", ".join(f"{noun(m.appearance)} {cell(m)}" for m in left_to_right)
    yield _wording(generator, _DESCRIBE), described


def cell(member: Placed) -> str:
    """The cell of the centre: a letter for the column, from A, and one for the row, from S.

    >>> from pixsearch.miniature.appearance import Appearance
    >>> look = Appearance(
    ...     kind="boat", silhouette=0, colour="red", trim="blue", emblem="disc", ink="white"
    ... )
    >>> cell(Placed(entity_id="t1", appearance=look, left=100, top=10, side=60, rotation=0.0))
    'DT'
    """
    across, down = member.centre
    above = (WIDTH - HEIGHT) // 2
    return CELLS[int((down + above) // CELL) * 8 + int(across // CELL)]


def noun(look: Appearance) -> str:
    """What something looks like, with an article: "an orange boat"."""
    return indefinite(look.colour, look.kind)


def _wording(generator: np.random.Generator, forms: Sequence[str]) -> str:
    return forms[int(generator.integers(len(forms)))]
