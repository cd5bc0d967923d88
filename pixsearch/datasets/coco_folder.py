"""Your own data: a folder of images and a COCO-format JSON.

Layout under `root`: `<split>.json`, and the images in `root/images` or in `root`. An annotation's
phrase is its field "phrase", or else its category's name; annotations of one image that share a
phrase make one mask. `"iscrowd": 1` or `"ignore": 1` marks a region of unknown label.
"""

from pathlib import Path
from typing import Any

from pixsearch.datasets.files import image_folder, read_json, require
from pixsearch.datasets.grounding import GroundedImage, grounding_example
from pixsearch.datasets.lazy import LazyExamples
from pixsearch.datasets.masks import Segmentation


def load(root: Path, split: str) -> LazyExamples:
    """One example per image (or per eight phrases of it); images without a phrase are left out.

    Raises:
        ValueError: the file is missing or broken, or an annotation belongs to no image or phrase.
    """
    path = root / f"{split}.json"
    content = read_json(path)
    require(content, "images", "annotations", where=str(path))
    for category in content.get("categories", ()):
        require(category, "id", "name", where=f"{path}: a category")
    for image in content["images"]:
        require(image, "id", "file_name", "height", "width", where=f"{path}: an image")
    names = {category["id"]: category["name"] for category in content.get("categories", ())}
    annotations: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        require(annotation, "id", "image_id", "segmentation", where=f"{path}: an annotation")
        if annotation["image_id"] not in annotations:
            raise ValueError(
                f"{path}: annotation {annotation['id']} is of image {annotation['image_id']}, "
                "which the file does not list"
            )
        annotations[annotation["image_id"]].append(annotation)
    folder = image_folder(root)
    records = [
        chunk
        for image in content["images"]
        for chunk in _grounded_image(image, annotations[image["id"]], names, folder, path).chunks()
    ]
    return LazyExamples(records, grounding_example)


def _grounded_image(
    image: dict[str, Any],
    annotations: list[dict[str, Any]],
    names: dict[Any, str],
    folder: Path,
    path: Path,
) -> GroundedImage:
    groups: dict[str, list[Segmentation]] = {}
    ignored: list[Segmentation] = []
    for annotation in annotations:
        if annotation.get("iscrowd") or annotation.get("ignore"):
            ignored.append(annotation["segmentation"])
            continue
        groups.setdefault(_phrase(annotation, names, path), []).append(annotation["segmentation"])
    return GroundedImage(
        id=str(image["id"]),
        image=folder / image["file_name"],
        height=image["height"],
        width=image["width"],
        phrases=tuple(groups),
        segmentations=tuple(tuple(group) for group in groups.values()),
        ignored=tuple(ignored),
    )


def _phrase(annotation: dict[str, Any], names: dict[Any, str], path: Path) -> str:
    phrase = annotation.get("phrase") or names.get(annotation.get("category_id")) or ""
    if not phrase.strip():
        raise ValueError(
            f"{path}: annotation {annotation['id']} has neither a phrase nor a known category"
        )
    return phrase.strip()
