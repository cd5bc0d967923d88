"""Images that are evaluated on, kept out of what is trained on."""

import re
from collections.abc import Iterable, Sequence
from os.path import basename
from pathlib import Path

from pixsearch.config import DatasetOptions
from pixsearch.datasets import open_dataset
from pixsearch.datasets.questions import QUESTION_READERS
from pixsearch.datasets.subset import SomeExamples

_OFFICIAL_NAMES = {
    "coco": re.compile(r"(?:COCO_(?:train|val|test)\d{4}_)?(\d{12})(?:_\d+)?"),  # 2014 and 2017
    "oven": re.compile(r"oven_(\d{8})"),
    "open_images": re.compile(r"([0-9a-f]{16})"),  # TextVQA's
    "webqa": re.compile(r"imgs\.tsv#(\d+)"),
    "download": re.compile(r"([0-9a-f]{32})"),  # CRAG-MM's: the MD5 of the address
}
_SUFFIX = re.compile(r"\.\w+$")


def known_image(image_id: str) -> str:
    """What two ids of the same image have in common, wherever its file lies.

    The image's number, where the file's name is an official one, or else the id itself. COCO's
    numbers are the same in its releases of 2014 and 2017 and in whatever was made of them.

    >>> known_image("refer/train2014/COCO_train2014_000000000009.jpg")
    'coco/000000000009'
    >>> known_image("own/cup.jpg")
    'own/cup.jpg'
    """
    stem = _SUFFIX.sub("", basename(image_id))
    for kind, pattern in _OFFICIAL_NAMES.items():
        if match := pattern.fullmatch(stem):
            return f"{kind}/{match.group(1)}"
    return image_id


def known_images(image_ids: Iterable[str | None]) -> frozenset[str]:
    """The images of a set, as `known_image` names them."""
    return frozenset(known_image(image_id) for image_id in image_ids if image_id is not None)


def images_of(options: DatasetOptions) -> frozenset[str]:
    """The images of a configured dataset or set of questions, as `known_image` names them.

    Raises:
        ValueError: there is no such reader, or its files are missing or broken.
    """
    if options.reader in QUESTION_READERS:
        rows: Sequence = QUESTION_READERS[options.reader](Path(options.root), options.split)
    else:
        rows = open_dataset(options)
    return known_images(row.image_id for row in rows)


def without_images(dataset: SomeExamples, images: frozenset[str]) -> SomeExamples:
    """The examples that show none of the images, in their order."""
    index = dataset.image_index()
    left_out = (number for number in index.shown() if known_image(index.id_of(number)) in images)
    return dataset.at(index.rows_without(left_out))
