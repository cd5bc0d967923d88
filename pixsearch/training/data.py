"""A run's examples: the mixture that it learns from, and those kept back."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pixsearch.config import DataOptions, DatasetOptions, OnError, TrainOptions
from pixsearch.datasets import open_dataset
from pixsearch.datasets.evaluated_expressions import (
    READER,
    expressions_of,
    without_evaluated_expressions,
)
from pixsearch.datasets.example import Example
from pixsearch.datasets.exclusion import images_of, without_images
from pixsearch.datasets.leaks import LeakReason, count_leaks
from pixsearch.datasets.mixture import Mixture
from pixsearch.datasets.quarantine import Quarantine, UnbrokenExamples
from pixsearch.datasets.splits import check_training_split
from pixsearch.datasets.subset import SomeExamples

logger = logging.getLogger(__name__)

HELD_OUT_SHARE = 10  # no more than one example in ten is kept back from a small dataset


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a run learns from, and what it is evaluated on while it learns."""

    mixture: Mixture
    held_out: list[Example]


def open_training_data(options: TrainOptions, quarantine: Quarantine | None = None) -> TrainingData:
    """Read the datasets of the stage's mixture and keep the end of each back.

    Args:
        quarantine: lists broken examples, which are left out; None lets them be errors.

    Raises:
        ValueError: the mixture or a dataset is not what was configured.
    """
    stage, sources = options.stage, options.data.sources
    datasets: dict[str, Sequence[Example]] = {}
    held_out: list[list[Example]] = []
    weights = {name: weight for name, weight in stage.mixture.items() if weight != 0}
    excluded = _evaluated_images(options.data)
    for name in weights:
        if name in sources:
            check_training_split(sources[name].reader, sources[name].split)
            whole = _examples(sources[name], name, quarantine)
            if excluded:
                whole = _without_evaluated(whole, excluded, name)
            if sources[name].reader == READER:
                whole = _without_expressions(whole, options.data, name)
            datasets[name], back = hold_back(whole, options.run.held_out, name=name)
            held_out.append(back)
    mixture = Mixture(datasets, weights, seed=options.run.seed, by_image=stage.by_image)
    return TrainingData(mixture=mixture, held_out=list(_in_turn(held_out)))


def _examples(options: DatasetOptions, name: str, quarantine: Quarantine | None) -> SomeExamples:
    if quarantine is None:
        examples = open_dataset(options)
        return SomeExamples(examples, range(len(examples)))
    examples = open_dataset(options, on_error=OnError.quarantine)
    rows = range(len(examples))
    return UnbrokenExamples(examples, rows, name=name, quarantine=quarantine)


def _evaluated_images(options: DataOptions) -> frozenset[str]:
    if not options.exclude_eval_images:
        return frozenset()
    return frozenset().union(*map(images_of, options.eval_images.values()))


def _without_evaluated(examples: SomeExamples, excluded: frozenset[str], name: str) -> SomeExamples:
    left = without_images(examples, excluded)
    num_excluded = len(examples) - len(left)
    logger.info("%s: %d of %d examples show evaluated images", name, num_excluded, len(examples))
    if len(examples) and not len(left):
        raise ValueError(
            f"data.sources.{name}: every example shows an image of data.eval_images; give it no "
            "weight, or set data.exclude_eval_images=false"
        )
    return left


def _without_expressions(examples: SomeExamples, options: DataOptions, name: str) -> SomeExamples:
    """Leave out what blocks (`pixsearch.datasets.leaks`); images in common are counted."""
    evaluated = [
        expression
        for each in options.eval_images.values()
        if each.reader == READER
        for expression in expressions_of(each)
    ]
    if not evaluated:
        return examples
    own = expressions_of(options.sources[name])
    left, leaks = without_evaluated_expressions(examples, own, evaluated)
    counted = count_leaks(leaks)
    logger.info(
        "%s: %d of %d examples are left out, whose objects or expressions are evaluated; of %d "
        "expressions, %d have an object, %d their words and %d (counted alone) an image in common",
        *(name, len(examples) - len(left), len(examples), len(own)),
        *(counted[LeakReason.annotation], counted[LeakReason.expression]),
        counted[LeakReason.image],
    )
    if len(examples) and not len(left):
        raise ValueError(
            f"data.sources.{name}: every example has an object or expression of data.eval_images; "
            "give it no weight, or take from data.eval_images what is not reported on"
        )
    return left


def hold_back(
    dataset: SomeExamples, count: int, *, name: str
) -> tuple[SomeExamples, list[Example]]:
    """The examples to train on and those at the end that are kept back.

    No image of those kept back is trained on: wherever else it occurs, that example is left out.
    Images shared between two datasets are not looked for.

    Raises:
        ValueError: nothing would be left to train on.
    """
    boundary = len(dataset) - min(count, len(dataset) // HELD_OUT_SHARE)
    back = dataset.usable(range(boundary, len(dataset)))
    unseen = {example.image_id for example in back} - {None}
    index = dataset.image_index()
    held = index.at(range(boundary, len(dataset)))
    numbers = [number for number in held.shown() if held.id_of(number) in unseen]
    rows = index.at(range(boundary)).rows_without(numbers)
    if boundary and not len(rows):
        raise ValueError(
            f"data.sources.{name}: every example is about an image of the {len(back)} that are "
            "held out: set run.held_out=0"
        )
    if len(rows) < boundary:
        left_out = boundary - len(rows)
        logger.warning("%s: %d examples of held-out images are not trained on", name, left_out)
    return dataset.at(rows), back


def _in_turn(groups: list[list[Example]]) -> Iterator[Example]:
    """One of each group, then the next of each: the first few show every dataset."""
    longest = max(map(len, groups), default=0)
    for place in range(longest):
        for group in groups:
            yield from islice(group, place, place + 1)
