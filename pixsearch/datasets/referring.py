"""Single expressions of RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO, as they are evaluated.

Training takes an image with all that is said about it (`refcoco.load`); here every expression
stands by itself, repeated ones and those of several objects too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import read_json
from pixsearch.datasets.lazy import BrokenRecord
from pixsearch.datasets.masks import Segmentation
from pixsearch.datasets.refcoco import (
    Record,
    check_ref,
    coco_images,
    read_instances,
    read_refs,
    refs_file,
    refs_of_split,
)

GREFS_FILE = "grefs(unc).json"
_NOTHING = -1  # gRefCOCO's id of an object where nothing is meant


@dataclass(frozen=True, kw_only=True)
class ReferringExpression:
    """One expression.

    Attributes:
        id: reference and place among its sentences, `"12/0"`.
        words: stripped, in the letters of the file.
        size: of the image, height and width in pixels.
        segmentations: of the objects that are meant; none where there is nothing.
    """

    id: str
    words: str
    image: Path
    size: tuple[int, int]
    segmentations: tuple[Segmentation, ...]


def read_refcoco(root: Path, split: str) -> list[ReferringExpression]:
    """All expressions of a split of RefCOCO, RefCOCO+ or RefCOCOg, each of one object.

    Raises:
        ValueError: a file is missing or broken, or has no such split; or a reference is not whole.
    """
    path = refs_file(root)
    return _expressions(root, refs_of_split(read_refs(path), split, path), _one_object)


def read_grefcoco(root: Path, split: str) -> list[ReferringExpression]:
    """All expressions of a split of gRefCOCO, of no, one or several objects.

    Layout under `root`: `grefs(unc).json`, a list of references like RefCOCO's whose `ann_id` is a
    list of ids, [-1] if nothing is meant; and `instances.json`.

    Raises:
        ValueError: as `read_refcoco`.
    """
    path = root / GREFS_FILE
    refs = read_json(path)
    if not isinstance(refs, list):
        raise ValueError(f"{path}: no list of references; fetch it again")
    return _expressions(root, refs_of_split(refs, split, path), partial(_objects, path))


def _one_object(ref: Record) -> list[Any]:
    return [ref.get("ann_id")]


def _objects(path: Path, ref: Record) -> list[Any]:
    named = ref.get("ann_id")
    if not isinstance(named, list) or not named:
        raise ValueError(
            f"{path}: reference {ref.get('ref_id')}: its ann_id is {named!r}, not a list of ids "
            "([-1] if nothing is meant); fetch the file again"
        )
    return [each for each in named if each != _NOTHING]


def _expressions(
    root: Path, refs: list[Record], objects_of: Callable[[Record], list[Any]]
) -> list[ReferringExpression]:
    broken: list[BrokenRecord] = []
    images, annotations = read_instances(root, broken)
    if broken:
        raise ValueError(f"{broken[0].reason} ({len(broken)} broken records)")
    folder, found = coco_images(root), []
    for ref in refs:
        objects = objects_of(ref)
        check_ref(ref, objects, images, annotations, root)
        image = images[ref["image_id"]]
        found += [
            ReferringExpression(
                id=f"{ref['ref_id']}/{place}",
                words=_words(sentence, ref, root),
                image=folder / image["file_name"],
                size=(image["height"], image["width"]),
                segmentations=tuple(annotations[each]["segmentation"] for each in objects),
            )
            for place, sentence in enumerate(ref["sentences"])
        ]
    return found


def _words(sentence: Record, ref: Record, root: Path) -> str:
    words = sentence["sent"].strip()
    if not words:
        raise ValueError(f"{root}: a sentence of reference {ref['ref_id']} is blank; mend it there")
    return words
