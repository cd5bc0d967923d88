"""RefCOCO, RefCOCO+, RefCOCOg: `refs(unc).p` and `instances.json` as the authors' tool reads them.

Layout under `root` (for instance `data/refer_seg/refcoco`): the two files, and the images of COCO
train2014 in `root/images` or in `root/../images/mscoco/images/train2014`.
"""

import logging
import pickle
from pathlib import Path
from typing import Any

from pixsearch.datasets.annotations import Segmentations
from pixsearch.datasets.coco_annotations import check_image
from pixsearch.datasets.files import image_folder, read_json, require
from pixsearch.datasets.grounding import GroundedImage, grounding_example
from pixsearch.datasets.lazy import BrokenRecord, LazyExamples

logger = logging.getLogger(__name__)

Record = dict[str, Any]

INSTANCES = "instances.json"
_REFS_FILES = ("refs(unc).p", "refs(umd).p", "refs(google).p")  # the first there is
_COCO_IMAGES = Path("images", "mscoco", "images", "train2014")


class PlainUnpickler(pickle.Unpickler):
    """Reads numbers, strings, lists and dictionaries; whatever would import a name is refused.

    The official files hold nothing else, so no builtin is let through either: `eval` is one.
    """

    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"the pickle wants to load {module}.{name}, which plain data never does")


def read_refs(path: Path) -> list[Record]:
    """The references of a `refs(…).p`, written by Python 2.

    Raises:
        ValueError: the file is broken, or would run code; names the file.
    """
    try:
        with path.open("rb") as file:
            return PlainUnpickler(file, encoding="latin1").load()
    except (ValueError, pickle.UnpicklingError, EOFError, IndexError, KeyError) as error:
        raise ValueError(f"{path}: not a file of references ({error}); fetch it again") from error


def load(root: Path, split: str) -> LazyExamples:
    """One example per image (or per eight expressions of it), an expression being a phrase.

    Args:
        split: train, val, testA or testB (RefCOCO, RefCOCO+), train, val or test (RefCOCOg).

    A broken record stands for each reference, and each image or annotation, that cannot be used.

    Raises:
        ValueError: a file is missing or broken, or has no such split.
    """
    broken: list[BrokenRecord] = []
    path = refs_file(root)
    refs = refs_of_split(read_refs(path), split, path)
    images, annotations = read_instances(root, broken)
    folder = coco_images(root)
    by_image: dict[Any, list[Record]] = {}
    for ref in refs:
        try:
            check_ref(ref, [ref.get("ann_id")], images, annotations, root)
            by_image.setdefault(ref["image_id"], []).append(ref)
        except ValueError as error:
            broken.append(BrokenRecord(reason=str(error)))
    grounded = [
        _grounded_image(images[image_id], group, annotations, folder)
        for image_id, group in by_image.items()
    ]
    num_sentences = sum(len(ref["sentences"]) for group in by_image.values() for ref in group)
    num_phrases = sum(len(record.phrases) for record in grounded)
    if num_phrases < num_sentences:
        logger.info(
            "%s, %s: %d expressions, %d left out (repeated, blank, or of several objects)",
            *(root, split, num_sentences, num_sentences - num_phrases),
        )
    records: list[GroundedImage | BrokenRecord] = [
        chunk for record in grounded for chunk in record.chunks()
    ]
    return LazyExamples(records + broken, grounding_example)


def refs_file(root: Path) -> Path:
    """The file of references of a data set.

    Raises:
        ValueError: there is none.
    """
    for name in _REFS_FILES:
        if (root / name).is_file():
            return root / name
    raise ValueError(f"{root}: none of {', '.join(_REFS_FILES)} is there; see data/README.md")


def refs_of_split(refs: list[Record], split: str, path: Path) -> list[Record]:
    """The references of a split.

    Args:
        path: the file that they are from, for errors.

    Raises:
        ValueError: there is no such split.
    """
    for ref in refs:
        require(ref, "split", where=f"{path}: a reference")
    chosen = [ref for ref in refs if ref["split"] == split]
    if not chosen:
        known = ", ".join(sorted({ref["split"] for ref in refs}))
        raise ValueError(f"{path}: no split {split!r}; there are: {known}")
    return chosen


def read_instances(
    root: Path, broken: list[BrokenRecord]
) -> tuple[dict[Any, Record], dict[Any, Record]]:
    """Images and annotations of `instances.json` by id. What is wrong goes to `broken`.

    Raises:
        ValueError: the file is missing or broken.
    """
    instances = read_json(root / INSTANCES)
    require(instances, "images", "annotations", where=str(root / INSTANCES))
    images = _by_id(instances["images"], "image", root, broken)
    return images, _by_id(instances["annotations"], "annotation", root, broken)


def coco_images(root: Path) -> Path:
    """The folder of COCO's images that `instances.json` names."""
    return image_folder(root, root.parent / _COCO_IMAGES)


def _by_id(
    records: list[Record], kind: str, root: Path, broken: list[BrokenRecord]
) -> dict[Any, Record]:
    """Records by their id; of one that occurs twice the first. What is wrong goes to `broken`."""
    found: dict[Any, Record] = {}
    for record in records:
        try:
            require(record, "id", where=f"{root / INSTANCES}: an {kind}")
            if record["id"] in found:
                raise ValueError(
                    f"{root / INSTANCES}: {kind} {record['id']} occurs twice; keep one"
                )
            found[record["id"]] = record
        except ValueError as error:
            broken.append(BrokenRecord(reason=str(error)))
    return found


def check_ref(ref: Record, objects: list[Any], images: dict, annotations: dict, root: Path) -> None:
    """See that a reference is whole, and image and annotations that it names are.

    Args:
        objects: ids of the annotations that it refers to.

    Raises:
        ValueError: they are not.
    """
    require(ref, "ref_id", "image_id", "ann_id", "sentences", where=f"{root}: a reference")
    for sentence in ref["sentences"]:
        require(sentence, "sent", where=f"{root}: a sentence of reference {ref['ref_id']}")
    where = root / INSTANCES
    named = [("image", ref["image_id"], images)]
    named += [("annotation", each, annotations) for each in objects]
    for kind, key, known in named:
        if key not in known:
            raise ValueError(f"{where}: {kind} {key} of reference {ref['ref_id']} is not in it")
    check_image(images[ref["image_id"]], where=f"{where}: image {ref['image_id']}")
    for each in objects:
        require(annotations[each], "segmentation", where=f"{where}: annotation {each}")


def _grounded_image(
    image: Record, refs: list[Record], annotations: dict, folder: Path
) -> GroundedImage:
    """Each expression once; one that refers to several objects of the image names none of them."""
    objects: dict[str, set[Any]] = {}
    for ref in refs:
        for sentence in ref["sentences"]:
            objects.setdefault(sentence["sent"].strip(), set()).add(ref["ann_id"])
    expressions = [
        (words, annotations[next(iter(named))]["segmentation"])
        for words, named in objects.items()
        if words and len(named) == 1
    ]
    return GroundedImage(
        id=str(image["id"]),
        image=folder / image["file_name"],
        phrases=tuple(phrase for phrase, _ in expressions),
        annotation=Segmentations(
            height=image["height"],
            width=image["width"],
            groups=tuple((segmentation,) for _, segmentation in expressions),
        ),
    )
