"""Several datasets as one endless sequence whose order hangs on the seed alone."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from itertools import count

import numpy as np
from jaxtyping import Int64

from pixsearch.datasets.example import Example
from pixsearch.datasets.image_index import RowGroups
from pixsearch.datasets.subset import image_id_at, image_index_of

_LONGEST_BLOCK = 10_000


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What stands at one place of a mixture.

    Attributes:
        through: how many times the dataset was gone through before.
        row: place within the dataset.
    """

    dataset: str
    through: int
    row: int


class Mixture:
    """Endless: `mixture[i]` is the i-th sample drawn, for any i ≥ 0, in about constant time.

    1. The sequence is cut into blocks, each with the same number of samples of every dataset, in
       proportion to the weights (7:9 makes blocks of 16).
    2. Within a block the datasets are shuffled, seeded by the block's number.
    3. The n-th draw of a dataset is row n mod length of a permutation that is fresh in each pass:
       every example is seen once before any is seen twice. By image, what is shuffled are images,
       each with all its examples: these then meet in a batch.

    A draw hangs on no other: workers, processes and a resumed run agree.

    Args:
        datasets: sequences of examples, by name; none is looked into before it is drawn.
        weights: share of samples drawn, by dataset; they need not sum to one, zero leaves out.
    """

    def __init__(
        self,
        datasets: Mapping[str, Sequence],
        weights: Mapping[str, float],
        *,
        seed: int,
        by_image: bool = False,
    ) -> None:
        _check(datasets, weights)
        self.seed = seed
        self._by_image = by_image
        quotas = block_quotas(weights)
        self._names = [name for name, quota in quotas.items() if quota]
        self._quotas = [quotas[name] for name in self._names]
        self._datasets = {name: datasets[name] for name in self._names}
        self._slots = np.repeat(np.arange(len(self._names)), self._quotas)
        self._last_block: tuple[int, Int64[np.ndarray, " block"]] | None = None
        self._permutations: dict[str, tuple[int, Int64[np.ndarray, " length"]]] = {}
        self._images: dict[str, RowGroups] = {}

    def __getitem__(self, index: int) -> Example:
        draw = self.locate(index)
        return self._datasets[draw.dataset][draw.row]

    def image_id(self, index: int) -> str | None:
        """The `image_id` of the sample at `index`, found without decoding anything."""
        draw = self.locate(index)
        return image_id_at(self._datasets[draw.dataset], draw.row)

    def locate(self, index: int) -> Draw:
        """Which dataset and which of its rows stand at `index`."""
        if index < 0:
            raise IndexError(f"a mixture has no end to count from; index {index} is negative")
        block, place = divmod(index, len(self._slots))
        slots = self._block(block)
        chosen = int(slots[place])
        nth = block * self._quotas[chosen] + int((slots[:place] == chosen).sum())
        name = self._names[chosen]
        through, place_in_pass = divmod(nth, len(self._datasets[name]))
        row = int(self._permutation(name, through)[place_in_pass])
        return Draw(dataset=name, through=through, row=row)

    def _block(self, number: int) -> Int64[np.ndarray, " block"]:
        """Place of the dataset in `_names`, for each sample of a block; the last one is kept."""
        known = self._last_block  # looked at once: another thread may put its own block there
        if known is None or known[0] != number:
            shuffled = self._generator("block", number).permutation(self._slots)
            self._last_block = known = (number, shuffled)
        return known[1]

    def _permutation(self, name: str, through: int) -> Int64[np.ndarray, " length"]:
        known = self._permutations.get(name)
        if known is None or known[0] != through:
            order = self._shuffled(name, self._generator(name, through))
            self._permutations[name] = known = (through, order)
        return known[1]

    def _shuffled(self, name: str, generator: np.random.Generator) -> Int64[np.ndarray, " length"]:
        dataset = self._datasets[name]
        if not self._by_image:
            return generator.permutation(len(dataset))
        if name not in self._images:
            self._images[name] = image_index_of(dataset).groups()
        images = self._images[name]
        return images.in_order(generator.permutation(len(images)))

    def _generator(self, purpose: str, number: int) -> np.random.Generator:
        """A generator that hangs on seed, purpose and number alone, whatever else is mixed in."""
        digest = blake2b(f"{self.seed}/{purpose}/{number}".encode(), digest_size=16).digest()
        return np.random.default_rng(int.from_bytes(digest, "big"))


def rank_indices(start: int, *, rank: int, num_ranks: int) -> Iterator[int]:
    """The places that one process takes: every `num_ranks`-th from `start + rank`, endlessly.

    >>> from itertools import islice
    >>> list(islice(rank_indices(100, rank=1, num_ranks=4), 3))
    [101, 105, 109]
    """
    return count(start + rank, num_ranks)


def block_quotas(weights: Mapping[str, float]) -> dict[str, int]:
    """Samples of each dataset in a block: the smallest whole numbers in proportion to the weights.

    Where these would sum to more than 10,000, the nearest proportion that sums to 10,000 and has
    at least one sample of each weight above zero.

    >>> block_quotas({"refcoco": 0.7, "trajectories": 0.9})
    {'refcoco': 7, 'trajectories': 9}
    """
    exact = {name: Fraction(str(weight)) for name, weight in weights.items()}
    total = sum(exact.values())
    shares = {name: weight / total for name, weight in exact.items()}
    length = math.lcm(*(share.denominator for share in shares.values()))
    if length > _LONGEST_BLOCK:
        return _largest_remainder(shares, _LONGEST_BLOCK)
    return {name: int(share * length) for name, share in shares.items()}


def _largest_remainder(shares: Mapping[str, Fraction], length: int) -> dict[str, int]:
    quotas = {name: math.floor(share * length) for name, share in shares.items()}
    left = length - sum(quotas.values())
    by_remainder = sorted(shares, key=lambda name: quotas[name] - shares[name] * length)
    for name in by_remainder[:left]:
        quotas[name] += 1
    for name in (name for name, share in shares.items() if share and not quotas[name]):
        quotas[max(quotas, key=quotas.__getitem__)] -= 1
        quotas[name] = 1
    return quotas


def _check(datasets: Mapping[str, Sequence], weights: Mapping[str, float]) -> None:
    for name, weight in weights.items():
        if name not in datasets:
            known = ", ".join(datasets)
            raise ValueError(f"mixture: no dataset {name!r} is configured; there are: {known}")
        if not math.isfinite(weight) or weight < 0:
            raise ValueError(f"mixture: the weight of {name!r} is {weight}; it must be ≥ 0")
        if weight and not len(datasets[name]):
            raise ValueError(f"mixture: dataset {name!r} is empty; check its root and split")
    if not any(weights.values()):
        raise ValueError("mixture: no dataset has a weight above 0")
