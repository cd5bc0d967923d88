"""A run's examples: the mixture that it learns from, and those kept back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pixsearch.config import TrainOptions
from pixsearch.datasets import open_dataset
from pixsearch.datasets.example import Example
from pixsearch.datasets.mixture import Mixture

HELD_OUT_SHARE = 10  # no more than one example in ten is kept back from a small dataset


class FirstExamples(Sequence[Example]):
    """The first `count` examples of a dataset."""

    def __init__(self, dataset: Sequence[Example], count: int) -> None:
        self._dataset = dataset
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        if not 0 <= index < self._count:
            raise IndexError(f"example {index} of {self._count}")
        return self._dataset[index]


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a run learns from, and what it is evaluated on while it learns."""

    mixture: Mixture
    held_out: list[Example]


def open_training_data(options: TrainOptions) -> TrainingData:
    """Read the datasets of the stage's mixture and keep the end of each back.

    Raises:
        ValueError: the mixture or a dataset is not what was configured.
    """
    stage = options.stage
    datasets: dict[str, Sequence[Example]] = {}
    held_out: list[list[Example]] = []
    weights = {name: weight for name, weight in stage.mixture.items() if weight != 0}
    for name in weights:
        if name in options.data:
            whole = open_dataset(options.data[name])
            boundary = held_out_boundary(whole, options.run.held_out)
            datasets[name] = FirstExamples(whole, boundary)
            end = min(boundary + options.run.held_out, len(whole))
            held_out.append([whole[index] for index in range(boundary, end)])
    mixture = Mixture(datasets, weights, seed=options.run.seed)
    return TrainingData(mixture=mixture, held_out=list(_in_turn(held_out)))


def held_out_boundary(dataset: Sequence[Example], count: int) -> int:
    """Where the held-out end of a dataset begins; an image's examples are not torn apart.

    Images shared between two datasets are not looked for.
    """
    boundary = len(dataset) - min(count, len(dataset) // HELD_OUT_SHARE)
    if boundary == len(dataset):
        return boundary
    image_id = dataset[boundary].image_id
    while boundary > 1 and image_id is not None and dataset[boundary - 1].image_id == image_id:
        boundary -= 1
    return boundary


def _in_turn(groups: list[list[Example]]) -> Iterator[Example]:
    """One of each group, then the next of each: the first few show every dataset."""
    longest = max(map(len, groups), default=0)
    for place in range(longest):
        for group in groups:
            yield from islice(group, place, place + 1)
