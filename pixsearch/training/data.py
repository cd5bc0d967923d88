"""A run's examples: the mixture that it learns from, and those kept back."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pixsearch.config import TrainOptions
from pixsearch.datasets import open_dataset
from pixsearch.datasets.example import Example
from pixsearch.datasets.mixture import Mixture

logger = logging.getLogger(__name__)

HELD_OUT_SHARE = 10  # no more than one example in ten is kept back from a small dataset


class SomeExamples(Sequence[Example]):
    """The examples of a dataset at `rows`, in that order."""

    def __init__(self, dataset: Sequence[Example], rows: Sequence[int]) -> None:
        self._dataset = dataset
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        return self._dataset[self._rows[index]]


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
            datasets[name], back = hold_back(whole, options.run.held_out, name=name)
            held_out.append(back)
    mixture = Mixture(datasets, weights, seed=options.run.seed, by_image=stage.by_image)
    return TrainingData(mixture=mixture, held_out=list(_in_turn(held_out)))


def hold_back(
    dataset: Sequence[Example], count: int, *, name: str
) -> tuple[SomeExamples, list[Example]]:
    """The examples to train on and those at the end that are kept back.

    No image of those kept back is trained on: wherever else it occurs, that example is left out.
    Images shared between two datasets are not looked for.

    Raises:
        ValueError: nothing would be left to train on.
    """
    boundary = len(dataset) - min(count, len(dataset) // HELD_OUT_SHARE)
    back = [dataset[row] for row in range(boundary, len(dataset))]
    unseen = {example.image_id for example in back} - {None}
    rows: Sequence[int] = range(boundary)
    if unseen:
        rows = [row for row in rows if dataset[row].image_id not in unseen]
    if boundary and not rows:
        raise ValueError(
            f"data.{name}: every example is about an image of the {len(back)} that are held out: "
            "set run.held_out=0"
        )
    if len(rows) < boundary:
        left_out = boundary - len(rows)
        logger.warning("%s: %d examples of held-out images are not trained on", name, left_out)
    return SomeExamples(dataset, rows), back


def _in_turn(groups: list[list[Example]]) -> Iterator[Example]:
    """One of each group, then the next of each: the first few show every dataset."""
    longest = max(map(len, groups), default=0)
    for place in range(longest):
        for group in groups:
            yield from islice(group, place, place + 1)
