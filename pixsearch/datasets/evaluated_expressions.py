"""Referring expressions that results are reported on, kept out of what is trained on.

RefCOCO, RefCOCO+ and RefCOCOg split the same images of COCO train2014 in different ways: objects of
one's test splits are in another's train.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

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
    blocked = {
        (known_image(each.image_id), normalised_text(each.text))
        for each in own
        if each.id in blocked_ids
    }
    left = [place for place in range(len(dataset)) if not _shows(dataset, place, blocked)]
    return dataset.at(np.array(left, dtype=np.int64)), leaks


def _shows(dataset: SomeExamples, place: int, blocked: set[tuple[str, str]]) -> bool:
    example = dataset.undecoded(place)
    if example is None or example.image_id is None:
        return False
    image = known_image(example.image_id)
    phrases = grounded_phrases(example.conversation)
    return any((image, normalised_text(phrase)) in blocked for phrase in phrases)
