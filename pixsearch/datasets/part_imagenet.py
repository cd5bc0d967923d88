"""PartImageNet (`PartImageNet_Seg.zip`): parts of animals, vehicles and bottles.

Layout under `root`: `images/<split>/<name>.JPEG` and `annotations/<split>/<name>.png`, whose pixels
are 0 to 39, the parts in their official order, or 40, the background.
"""

from pathlib import Path

from pixsearch.datasets.class_maps import Classes, class_map_examples, class_names
from pixsearch.datasets.lazy import LazyExamples
from pixsearch.datasets.part_names import part_phrase

_BACKGROUND = 40
CLASSES = Classes(
    names=dict(enumerate(class_names("part_imagenet"))), background=frozenset({_BACKGROUND})
)
_SPELLED = {"tier": "tire"}  # the official list's slip


def load(root: Path, split: str) -> LazyExamples:
    """One example per image (or per eight of its parts), a part being a phrase.

    Args:
        split: train, val or test.

    Raises:
        ValueError: the folder of annotations is missing or empty.
    """
    labels = root / "annotations" / split
    return class_map_examples(labels, root / "images" / split, ".JPEG", CLASSES, phrase=_phrase)


def _phrase(name: str, key: str) -> str:
    """What "Car Side Mirror" is called in an image."""
    object_name, _, part_name = name.lower().partition(" ")
    return part_phrase(object_name, _SPELLED.get(part_name, part_name), key=key)
