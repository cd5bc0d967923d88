"""Examples of images with a map of class labels: what ADE20K, COCO-Stuff and PartImageNet share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pixsearch.datasets.annotations import LabelMap
from pixsearch.datasets.grounding import GroundedImage, grounding_example
from pixsearch.datasets.label_maps import LabelFile, index_label_maps
from pixsearch.datasets.lazy import BrokenRecord, LazyExamples

_NAMES = Path(__file__).with_name("class_names")


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The meaning of a data set's labels; any other label is an error.

    Attributes:
        names: of the classes that are asked for, by label.
        unknown: labels of pixels whose class is not known: they are ignored.
        background: labels of pixels that are of no class.
    """

    names: Mapping[int, str]
    unknown: frozenset[int] = frozenset()
    background: frozenset[int] = frozenset()


def class_names(dataset: str) -> list[str]:
    """The official names of a data set's classes, in the order of their labels."""
    return (_NAMES / f"{dataset}.txt").read_text(encoding="utf-8").splitlines()


def same_name(name: str, key: str) -> str:
    """A class's name as its phrase."""
    return name


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """An image with its map of class labels.

    Attributes:
        label_map: the picture whose pixels are labels.
        size: height and width in pixels.
        labels: of the classes that occur, in their order; no unknown ones and no background.
    """

    id: str
    image: Path
    label_map: Path
    size: tuple[int, int]
    labels: tuple[int, ...]


def labelled_images(
    label_folder: Path, images: Path, suffix: str, classes: Classes
) -> list[LabelledImage]:
    """The images of a folder of label maps, for evaluation: a broken map is refused.

    Raises:
        ValueError: there is no such folder, no label map in it, or one is broken or has a label
            that is none of the data set's.
    """
    files = index_label_maps(label_folder)
    wrong = [reason for f in files if (reason := _wrong(f, label_folder / f.name, classes))]
    if wrong:
        raise ValueError(f"{wrong[0]} ({len(wrong)} of {len(files)} label maps cannot be used)")
    return [
        LabelledImage(
            id=(path := label_folder / file.name).stem,
            image=images / f"{path.stem}{suffix}",
            label_map=path,
            size=(file.height, file.width),
            labels=tuple(label for label in file.labels if label in classes.names),
        )
        for file in files
    ]


def class_map_examples(
    label_folder: Path,
    images: Path,
    suffix: str,
    classes: Classes,
    *,
    phrase: Callable[[str, str], str] = same_name,
) -> LazyExamples:
    """One example per image (or per eight of its classes); images without a class are left out.

    Args:
        label_folder: has the label maps, `<name>.png`.
        images: the folder that has the images, `<name><suffix>`.
        phrase: makes a phrase of a class's name and a key, which is another for each image.

    Raises:
        ValueError: there is no such folder, or no label map in it.
    """
    records: list[GroundedImage | BrokenRecord] = []
    for file in index_label_maps(label_folder):
        path = label_folder / file.name
        if reason := _wrong(file, path, classes):
            records.append(BrokenRecord(reason=reason))
            continue
        labels = [label for label in file.labels if label in classes.names]
        record = GroundedImage(
            id=path.stem,
            image=images / f"{path.stem}{suffix}",
            phrases=tuple(phrase(classes.names[label], path.stem) for label in labels),
            annotation=LabelMap(
                path=path,
                height=file.height,
                width=file.width,
                labels=tuple(labels),
                unknown=tuple(sorted(classes.unknown.intersection(file.labels))),
            ),
        )
        records.extend(record.chunks())
    return LazyExamples(records, grounding_example)


def _wrong(file: LabelFile, path: Path, classes: Classes) -> str:
    """Why a label map cannot be used, or nothing."""
    strange = set(file.labels) - classes.names.keys() - classes.unknown - classes.background
    if not file.broken and strange:
        return (
            f"{path}: label {min(strange)} is no class of this data set; fetch its own annotations"
        )
    return file.broken
