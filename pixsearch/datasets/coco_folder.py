"""Your own data: a folder of images and a COCO-format JSON.

Layout under `root`: `<split>.json`, and the images in `root/images` or in `root`. An annotation's
phrase is its field "phrase", or else its category's name; annotations of one image that share a
phrase make one mask. `"iscrowd": 1` or `"ignore": 1` marks a region of unknown label.
"""

from pathlib import Path

from pixsearch.datasets.coco_annotations import Record, coco_examples
from pixsearch.datasets.files import image_folder
from pixsearch.datasets.lazy import LazyExamples


def load(root: Path, split: str) -> LazyExamples:
    """One example per image (or per eight phrases of it); images without a phrase are left out.

    Raises:
        ValueError: the file is missing, is no JSON, lacks a section, or has broken categories.
    """
    return coco_examples(root / f"{split}.json", image_folder(root), _phrase)


def _phrase(annotation: Record, category: str, image: str) -> str:
    phrase = annotation.get("phrase") or category
    if not isinstance(phrase, str):
        raise ValueError(
            f"annotation {annotation['id']}: its phrase is {phrase!r}, not a text; mend it there"
        )
    return phrase
