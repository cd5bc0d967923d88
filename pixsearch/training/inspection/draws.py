"""Which examples are looked at: those that training draws, or some at random."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from pixsearch.config import InspectDataOptions, OnError
from pixsearch.datasets import open_dataset
from pixsearch.datasets.example import Example
from pixsearch.datasets.quarantine import QUARANTINE, Quarantine
from pixsearch.training.data import open_training_data


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One example, not read yet.

    Attributes:
        place: where it was drawn, in words.
        load: reads it; a broken one is an error here.
    """

    dataset: str
    place: str
    load: Callable[[], Example]


def draw(options: InspectDataOptions) -> list[Drawn]:
    """The examples of `options.inspect`, in the order in which they are shown.

    Raises:
        ValueError: a dataset is not configured or cannot be opened.
    """
    names = _names(options)
    if options.inspect.from_mixture:
        return _from_mixture(options, names)
    return list(_at_random(options, names))


def _names(options: InspectDataOptions) -> list[str]:
    if options.inspect.dataset is None:
        return [name for name, weight in options.stage.mixture.items() if weight]
    if options.inspect.dataset not in options.data.sources:
        raise ValueError(
            f"inspect.dataset={options.inspect.dataset}: no such dataset is configured; there are: "
            f"{', '.join(options.data.sources)}"
        )
    return [options.inspect.dataset]


def _from_mixture(options: InspectDataOptions, names: Sequence[str]) -> list[Drawn]:
    """A dataset alone comes in the order in which it comes within the mixture.

    What training would leave out as broken is listed beside the page, in a list of this page alone.
    """
    mixed = options.inspect.dataset is None
    weights = options.stage.mixture if mixed else dict.fromkeys(names, 1.0)
    stage = replace(options.stage, mixture=weights)
    leaves_out = options.data.on_error is OnError.quarantine
    listed = Quarantine(Path(options.inspect.output).with_name(QUARANTINE)) if leaves_out else None
    if listed is not None:
        listed.clear()
    mixture = open_training_data(replace(options, stage=stage), listed).mixture
    first = options.inspect.start
    return [
        Drawn(
            dataset=mixture.locate(index).dataset,
            place=f"sample {index}",
            load=partial(mixture.__getitem__, index),
        )
        for index in range(first, first + options.inspect.num_read)
    ]


def _at_random(options: InspectDataOptions, names: Sequence[str]) -> Iterator[Drawn]:
    """As many rows of each dataset, each row once, one dataset after the other in turn."""
    share = -(-options.inspect.num_read // len(names))
    of_each = [_rows(options, name, share) for name in names]
    return filter(None, chain.from_iterable(zip_longest(*of_each)))


def _rows(options: InspectDataOptions, name: str, most: int) -> list[Drawn]:
    examples = open_dataset(options.data.sources[name], on_error=OnError.quarantine)
    generator = np.random.default_rng(options.inspect.seed)
    rows = generator.choice(len(examples), size=min(most, len(examples)), replace=False)
    return [
        Drawn(dataset=name, place=f"row {row}", load=partial(examples.__getitem__, int(row)))
        for row in rows
    ]
