"""Pascal-Part in COCO's format, as VLPart's script writes it and LISA reads it.

Layout under `root` (for instance `data/vlpart/pascal_part`): `<split>.json`, whose categories are
`obj:part`; the images in `root/images` or in `root/VOCdevkit/VOC2010/JPEGImages`.
"""

from pathlib import Path

from pixsearch.datasets.coco_annotations import Record, coco_examples
from pixsearch.datasets.files import image_folder
from pixsearch.datasets.lazy import LazyExamples
from pixsearch.datasets.part_names import category_phrase

_IMAGES = Path("VOCdevkit", "VOC2010", "JPEGImages")


def load(root: Path, split: str) -> LazyExamples:
    """One example per image (or per eight parts in it), a part being a phrase.

    Args:
        split: train or val.

    Raises:
        ValueError: the file is missing, is no JSON, lacks a section, or has broken categories.
    """
    return coco_examples(root / f"{split}.json", image_folder(root, root / _IMAGES), _phrase)


def _phrase(annotation: Record, category: str, image: str) -> str:
    return category_phrase(category, key=image)
