"""Examples of a COCO-format JSON: what one's own folder, PACO-LVIS and Pascal-Part share.

Annotations of one image that share a phrase make one mask. `"iscrowd": 1` or `"ignore": 1` marks a
region of unknown label.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixsearch.datasets.annotations import Segmentations
from pixsearch.datasets.files import read_json, require
from pixsearch.datasets.grounding import GroundedImage, grounding_example
from pixsearch.datasets.lazy import BrokenRecord, LazyExamples
from pixsearch.datasets.masks import Segmentation

Record = dict[str, Any]
Phrase = Callable[[Record, str, str], str]
"""Makes the phrase of an annotation, of its category's name ("" without one) and of its image's
id; blank if there is none."""


def coco_examples(path: Path, images: Path, phrase: Phrase) -> LazyExamples:
    """One example per image (or per eight phrases of it); images without a phrase are left out.

    Args:
        images: what the images' file names are relative to.

    Raises:
        ValueError: the file is missing, is no JSON, lacks a section, or has broken categories.
    """
    content = read_json(path)
    require(content, "images", "annotations", where=str(path))
    names: dict[Any, str] = {}
    for category in content.get("categories", ()):
        require(category, "id", "name", where=f"{path}: a category")
        if category["id"] in names:
            raise ValueError(f"{path}: category {category['id']} occurs twice; keep one of them")
        names[category["id"]] = category["name"]
    file = _CocoFile(path=path, images=images, names=names, phrase=phrase)
    return LazyExamples([*file.records(content)], grounding_example)


@dataclass(frozen=True, kw_only=True)
class _CocoFile:
    """What the records of a file have in common."""

    path: Path
    images: Path
    names: dict[Any, str]
    phrase: Phrase

    def records(self, content: Record) -> Iterator[GroundedImage | BrokenRecord]:
        """A broken record stands for each image and each annotation that cannot be used."""
        annotations: dict[Any, list[Record]] = {}
        for image in content["images"]:
            try:
                require(image, "id", "file_name", "height", "width", where=f"{self.path}: an image")
                if image["id"] in annotations:
                    raise ValueError(f"{self.path}: image {image['id']} occurs twice; keep one")
                annotations[image["id"]] = []
            except ValueError as error:
                yield BrokenRecord(reason=str(error))
        yield from self._sort(content["annotations"], annotations)
        for image in content["images"]:
            if isinstance(image, dict) and "id" in image:
                yield from self._of_image(image, annotations.pop(image["id"], []))

    def _sort(
        self, annotations: Sequence[Record], by_image: dict[Any, list[Record]]
    ) -> Iterator[BrokenRecord]:
        """Put each annotation to its image."""
        seen: set[Any] = set()
        for annotation in annotations:
            try:
                where = f"{self.path}: an annotation"
                require(annotation, "id", "image_id", "segmentation", where=where)
                id, image_id = annotation["id"], annotation["image_id"]
                if id in seen:
                    raise ValueError(f"{self.path}: annotation {id} occurs twice; keep one of them")
                if image_id not in by_image:
                    raise ValueError(
                        f"{self.path}: annotation {id} is of image {image_id}, which the file does "
                        "not list"
                    )
                seen.add(id)
                by_image[image_id].append(annotation)
            except ValueError as error:
                yield BrokenRecord(reason=str(error))

    def _of_image(
        self, image: Record, annotations: Sequence[Record]
    ) -> Iterator[GroundedImage | BrokenRecord]:
        try:
            yield from self._grounded(image, annotations).chunks()
        except ValueError as error:
            yield BrokenRecord(reason=str(error))

    def _grounded(self, image: Record, annotations: Sequence[Record]) -> GroundedImage:
        groups: dict[str, list[Segmentation]] = {}
        ignored: list[Segmentation] = []
        for annotation in annotations:
            if annotation.get("iscrowd") or annotation.get("ignore"):
                ignored.append(annotation["segmentation"])
                continue
            name = self.names.get(annotation.get("category_id"), "")
            phrase = self.phrase(annotation, name, str(image["id"])).strip()
            if not phrase:
                raise ValueError(
                    f"{self.path}: annotation {annotation['id']} has neither a phrase nor a known "
                    "category"
                )
            groups.setdefault(phrase, []).append(annotation["segmentation"])
        return GroundedImage(
            id=str(image["id"]),
            image=self.images / image["file_name"],
            phrases=tuple(groups),
            annotation=Segmentations(
                height=image["height"],
                width=image["width"],
                groups=tuple(tuple(group) for group in groups.values()),
                ignored=tuple(ignored),
            ),
        )
