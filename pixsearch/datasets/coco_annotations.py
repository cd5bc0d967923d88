"""Examples of a COCO-format JSON: what one's own folder, PACO-LVIS and Pascal-Part share.

Annotations of one image that share a phrase make one mask. `"iscrowd": 1` or `"ignore": 1` marks a
region of unknown label.
"""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
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
        usable: dict[int | str, Record] = {}
        unusable: set[int | str] = set()
        for image in content["images"]:
            try:
                where = f"{self.path}: an image"
                require(image, "id", "file_name", "height", "width", where=where)
                if _id(image, "id", where) in usable:
                    raise ValueError(f"{self.path}: image {image['id']} occurs twice; keep one")
                check_image(image, where=f"{self.path}: image {image['id']}")
                usable[image["id"]] = image
            except ValueError as error:
                unusable.update(_ids_of(image))
                yield BrokenRecord(reason=str(error))
        annotations: dict[int | str, list[Record]] = {id: [] for id in usable}
        yield from self._sort(content["annotations"], annotations, unusable - usable.keys())
        for id, image in usable.items():
            yield from self._of_image(image, annotations[id])

    def _sort(
        self,
        annotations: Sequence[Record],
        by_image: dict[int | str, list[Record]],
        unusable: AbstractSet[int | str],
    ) -> Iterator[BrokenRecord]:
        """Put each annotation to its image; those of broken images, which are told, to none."""
        seen: set[int | str] = set()
        for annotation in annotations:
            try:
                where = f"{self.path}: an annotation"
                require(annotation, "id", "image_id", "segmentation", where=where)
                id, image_id = (_id(annotation, field, where) for field in ("id", "image_id"))
                if id in seen:
                    raise ValueError(f"{self.path}: annotation {id} occurs twice; keep one of them")
                seen.add(id)
                if image_id not in by_image and image_id not in unusable:
                    raise ValueError(
                        f"{self.path}: annotation {id} is of image {image_id}, which the file does "
                        "not list"
                    )
                if image_id in by_image:
                    by_image[image_id].append(annotation)
            except ValueError as error:
                yield BrokenRecord(reason=str(error))

    def _of_image(
        self, image: Record, annotations: Sequence[Record]
    ) -> Iterator[GroundedImage | BrokenRecord]:
        try:
            grounded = self._grounded(image, annotations)
        except ValueError as error:
            yield BrokenRecord(reason=f"{self.path}: {error}")
        else:
            yield from grounded.chunks()

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
                    f"annotation {annotation['id']} has neither a phrase nor a known category"
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


def check_image(image: Record, *, where: str) -> None:
    """See that a file name and a size of whole pixels stand in an image's record.

    Raises:
        ValueError: they do not; begins with `where`.
    """
    require(image, "file_name", "height", "width", where=where)
    if not isinstance(image["file_name"], str):
        raise ValueError(f"{where}: its file_name is {image['file_name']!r}, not a text; mend it")
    for side in ("height", "width"):
        if not isinstance(image[side], int) or image[side] < 1:
            raise ValueError(f"{where}: its {side} is {image[side]!r}, not pixels from 1 on")


def _id(record: Record, field: str, where: str) -> int | str:
    if not isinstance(record[field], (int, str)):
        raise ValueError(f"{where}: its {field} is {record[field]!r}, no number or text; mend it")
    return record[field]


def _ids_of(image: Any) -> list[int | str]:
    """The id of a broken record, if it has one."""
    id = image.get("id") if isinstance(image, dict) else None
    return [id] if isinstance(id, (int, str)) else []
