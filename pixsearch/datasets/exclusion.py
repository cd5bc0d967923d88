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


def known_image(image_id: str) -> str:
    """What two ids of the same image have in common, wherever its file lies.

    The image's number, where the file's name is an official one, or else the id itself. COCO's
    numbers are the same in its releases of 2014 and 2017 and in whatever was made of them.

    >>> known_image("refer/train2014/COCO_train2014_000000000009.jpg")
    'coco/000000000009'
    >>> known_image("own/cup.jpg")
    'own/cup.jpg'
    """
    stem = PurePath(image_id).stem
    for kind, pattern in _OFFICIAL_NAMES.items():
        if match := pattern.fullmatch(stem):
            return f"{kind}/{match.group(1)}"
    return image_id


def known_images(image_ids: Iterable[str | None]) -> frozenset[str]:
    """The images of a set, as `known_image` names them."""
    return frozenset(known_image(image_id) for image_id in image_ids if image_id is not None)


class WithoutImages(Sequence):
    """The examples of a dataset, in order, but for those that show one of the images.

    Every example is built once to ask for its image, without decoding it.

    Attributes:
        num_excluded: examples that are left out.
    """

    def __init__(self, dataset: Sequence[Example], images: frozenset[str]) -> None:
        self._dataset = dataset
        self._rows = [row for row, shown in _rows_shown(dataset, images) if not shown]
        self.num_excluded = len(dataset) - len(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        return self._dataset[self._rows[index]]


def num_showing(dataset: Sequence[Example], images: frozenset[str]) -> int:
    """How many examples show one of the images."""
    return sum(shown for _, shown in _rows_shown(dataset, images))


def _rows_shown(dataset: Sequence[Example], images: frozenset[str]) -> Iterator[tuple[int, bool]]:
    for row in range(len(dataset)):
        image_id = dataset[row].image_id
        yield row, image_id is not None and known_image(image_id) in images
