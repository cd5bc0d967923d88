"""Images that are evaluated on, kept out of what is trained on."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

from pixsearch.datasets.example import Example

_OFFICIAL_NAMES = {
    "coco": re.compile(r"(?:COCO_(?:train|val|test)\d{4}_)?(\d{12})(?:_\d+)?"),  # 2014 and 2017
    "oven": re.compile(r"oven_(\d{8})"),
    "open_images": re.compile(r"([0-9a-f]{16})"),  # TextVQA's
}


def image_keys(image_id: str) -> frozenset[str]:
    """What two ids of the same image have in common, wherever its file lies.

    The id itself and, where the file's name is an official one, the image's number: COCO's is the
    same in its releases of 2014 and 2017 and in whatever was made of them.

    >>> sorted(image_keys("refer/COCO_train2014_000000000009_57.jpg"))
    ['coco/000000000009', 'refer/COCO_train2014_000000000009_57.jpg']
    """
    stem = PurePath(image_id).stem
    matches = ((kind, pattern.fullmatch(stem)) for kind, pattern in _OFFICIAL_NAMES.items())
    return frozenset([image_id, *(f"{kind}/{match.group(1)}" for kind, match in matches if match)])


def keys_of_images(image_ids: Iterable[str | None]) -> frozenset[str]:
    """The keys of all of a set's images."""
    return frozenset(key for id in image_ids if id is not None for key in image_keys(id))


class WithoutImages(Sequence):
    """The examples of a dataset, in order, but for those whose image has one of the keys.

    Every example is built once to ask for its image, without decoding it.

    Attributes:
        num_excluded: examples that are left out.
    """

    def __init__(self, dataset: Sequence[Example], excluded: frozenset[str]) -> None:
        self._dataset = dataset
        self._rows = [row for row, shown in _rows_shown(dataset, excluded) if not shown]
        self.num_excluded = len(dataset) - len(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        return self._dataset[self._rows[index]]


def count_of_images(dataset: Sequence[Example], keys: frozenset[str]) -> int:
    """How many examples show an image with one of the keys."""
    return sum(shown for _, shown in _rows_shown(dataset, keys))


def _rows_shown(dataset: Sequence[Example], keys: frozenset[str]) -> Iterator[tuple[int, bool]]:
    for row in range(len(dataset)):
        image_id = dataset[row].image_id
        yield row, image_id is not None and not keys.isdisjoint(image_keys(image_id))
