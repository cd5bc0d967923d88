"""A local approximation of WebQA's scores: not the official ones, and to be called so.

The official score is the product of fluency (a BARTScore, not here) and accuracy over keywords that
only the server knows. Here the keywords are the words of the published answer, there is no
lemmatiser, and the lists of colours and shapes are our own.
"""

import re
import string
from enum import StrEnum

from pixsearch.evaluation.metrics.normalisation import NUMBERS
from pixsearch.evaluation.metrics.text_qa import bag_overlap

_COLOURS = """
    amber aqua azure beige black blond blonde blue bronze brown burgundy copper cream crimson
    cyan gold golden gray green grey indigo ivory lavender lime magenta maroon mauve navy ochre
    olive orange pink purple red rose rust scarlet silver tan teal transparent turquoise violet
    white yellow
"""
_SHAPES = """
    arch arched ball bell bow circle circular concave cone conical convex crescent cross cube
    cuboid curve curved cylinder cylindrical diamond disc dome domed dot ellipse flat flower globe
    heart hexagon hexagonal hook horseshoe oblong octagon octagonal oval pentagon pentagonal point
    pointed pyramid rectangle rectangular rhombus ring round rounded semicircle sphere spherical
    spiral square star straight teardrop torus triangle triangular tube wavy
"""
COLOURS = frozenset(_COLOURS.split())
SHAPES = frozenset(_SHAPES.split())
YES_NO = frozenset({"yes", "no"})

_PUNCTUATION = str.maketrans("", "", string.punctuation.replace(".", ""))
_ARTICLES = frozenset({"a", "an", "the"})


class Category(StrEnum):
    """`Qcate` of a question."""

    COLOUR = "color"
    SHAPE = "shape"
    YES_NO = "YesNo"
    NUMBER = "number"
    CHOOSE = "choose"
    TEXT = "text"
    OTHERS = "Others"


VOCABULARIES = {Category.COLOUR: COLOURS, Category.SHAPE: SHAPES, Category.YES_NO: YES_NO}


def webqa_words(text: str) -> list[str]:
    """Words in lower case, number words as digits, no punctuation but decimal points, no articles.

    A text of a single word keeps it, whatever it is.

    >>> webqa_words("The two towers, of 3.5 m."), webqa_words("A")
    (['2', 'towers', 'of', '3.5', 'm'], ['a'])
    """
    plain = re.sub(r"\.(?!\d)", "", text.lower().translate(_PUNCTUATION))
    words = [NUMBERS.get(word, word) for word in plain.split()]
    return words if len(words) == 1 else [word for word in words if word not in _ARTICLES]


def webqa_local_accuracy(answer: str, gold: str, category: Category) -> float:
    """F1 over the category's own words where it has some (colours, shapes, yes and no, whole
    numbers), else the share of the gold answer's words that the answer has.

    >>> webqa_local_accuracy("It is red and blue.", "The wall is red", Category.COLOUR)
    0.6666666666666666
    >>> webqa_local_accuracy("the tall tower", "a tower", Category.TEXT)
    1.0
    """
    said, wanted = webqa_words(answer), webqa_words(gold)
    if category is Category.NUMBER:
        return bag_overlap(_integers(said), _integers(wanted)).f1
    if category in VOCABULARIES:
        words = VOCABULARIES[category]
        return bag_overlap(sorted(words & set(said)), sorted(words & set(wanted))).f1
    return bag_overlap(said, wanted).recall


def _integers(words: list[str]) -> list[int]:
    return [int(word) for word in words if word.isdecimal()]
