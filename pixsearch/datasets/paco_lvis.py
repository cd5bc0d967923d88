"""PACO-LVIS: 75 classes of objects and their parts, on images of COCO 2017.

Layout under `root` (for instance `data/vlpart/paco`): `annotations/paco_lvis_v1_<split>.json`; the
images at the `file_name` that it gives (`train2017/…`), in `root/images` or in
`root/../../coco`. A phrase is an object, or a part as "obj part" or "the part of the obj".
"""

from pathlib import Path

from pixsearch.datasets.coco_annotations import Record, coco_examples
from pixsearch.datasets.files import image_folder
from pixsearch.datasets.lazy import LazyExamples
from pixsearch.datasets.part_names import category_phrase


def load(root: Path, split: str) -> LazyExamples:
    """One example per image (or per eight phrases of it).

    Args:
        split: train, val or test.

    Raises:
        ValueError: the file is missing, is no JSON, lacks a section, or has broken categories.
    """
    path = root / "annotations" / f"paco_lvis_v1_{split}.json"
    return coco_examples(path, image_folder(root, root.parent.parent / "coco"), _phrase)


def _phrase(annotation: Record, category: str, image: str) -> str:
    return category_phrase(category, key=image)
