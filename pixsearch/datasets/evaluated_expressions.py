"""Referring expressions that results are reported on, kept out of what is trained on.

RefCOCO, RefCOCO+ and RefCOCOg split the same images of COCO train2014 in different ways: objects of
one's test splits are in another's train.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pixsearch.chat import Conversation
from pixsearch.config import DatasetOptions
from pixsearch.datasets.exclusion import known_image
from pixsearch.datasets.grammar import grounded_phrases
from pixsearch.datasets.leaks import (
    Expression,
    Leak,
    expressions_of_refs,
    find_expression_leaks,
    normalised_text,
)
from pixsearch.datasets.refcoco import refs_file
from pixsearch.datasets.subset import SomeExamples

Phrases = frozenset[tuple[str, str]]
"""Images, as `known_image` names them, with words about something in them."""

READER = "refcoco"  # whose annotations have ids of COCO, and so are known across data sets


def expressions_of(options: DatasetOptions) -> list[Expression]:
    """The expressions of a configured RefCOCO, RefCOCO+ or RefCOCOg.

    Raises:
        ValueError: the file of references is missing or broken.
    """
    return [*expressions_of_refs(refs_file(Path(options.root)), options.split)]


def without_evaluated_expressions(
    dataset: SomeExamples, expressions: Iterable[Expression], evaluated: Iterable[Expression]
) -> tuple[SomeExamples, list[Leak]]:
    """The examples without a phrase that is evaluated, or that names an evaluated object.

    Args:
        expressions: of the dataset, whose grounded phrases they are.

    Returns:
        Those examples in their order; and all that both sides have in common, images included.
    """
    own = [*expressions]
    leaks = find_expression_leaks(own, evaluated)
    blocked_ids = {leak.question_id for leak in leaks if leak.blocking}
    blocked = phrases_of(each for each in own if each.id in blocked_ids)
    left = [place for place in range(len(dataset)) if not _shows(dataset, place, blocked)]
    return dataset.at(np.array(left, dtype=np.int64)), leaks


def phrases_of(expressions: Iterable[Expression]) -> Phrases:
    """The words of expressions and what they are about, as `named_among` compares them."""
    return frozenset(
        (known_image(each.image_id), normalised_text(each.text)) for each in expressions
    )


def named_among(conversation: Conversation, image_id: str, phrases: Phrases) -> str | None:
    """The first grounded phrase of a conversation that is one of the phrases of its image."""
    image = known_image(image_id)
    named = grounded_phrases(conversation)
    return next((each for each in named if (image, normalised_text(each)) in phrases), None)


def _shows(dataset: SomeExamples, place: int, blocked: Phrases) -> bool:
    example = dataset.undecoded(place)
    if example is None or example.image_id is None:
        return False
    return named_among(example.conversation, example.image_id, blocked) is not None
