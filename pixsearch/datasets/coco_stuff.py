"""COCO-Stuff 164k (`stuffthingmaps_trainval2017.zip`): things and stuff of COCO 2017.

Layout under `root`: `<split>/<name>.png`, whose pixels are the classes' ids less one, 255 without a
label; and the images, `<split>/<name>.jpg` in `root/images` or in `root/../coco`.
"""

from functools import partial
from pathlib import Path

from pixsearch.datasets.class_maps import (
    Classes,
    LabelledImage,
    class_map_examples,
    class_names,
    labelled_images,
)
from pixsearch.datasets.files import image_folder
from pixsearch.datasets.lazy import LazyExamples

_UNLABELLED = 255
# Of the 182 ids 11 have no pixel: COCO numbered things that it then left out.
_WITHOUT_PIXELS = {
    *("street sign", "hat", "shoe", "eye glasses", "plate", "mirror"),
    *("window", "desk", "door", "blender", "hair brush"),
}
_NAMES = {
    label: name
    for label, name in enumerate(class_names("coco_stuff"))
    if name not in _WITHOUT_PIXELS
}
_SKY = "sky-other"  # LISA's list calls it "sky", without the hyphen for which it drops a class
_IN_LISA = {
    label: "sky" if name == _SKY else name
    for label, name in _NAMES.items()
    if name == _SKY or "-" not in name
}

ALL171 = Classes(names=_NAMES, unknown=frozenset({_UNLABELLED}))
LISA143 = Classes(
    names=_IN_LISA, unknown=frozenset({_UNLABELLED, *(_NAMES.keys() - _IN_LISA.keys())})
)


def load(root: Path, split: str, *, classes: Classes = ALL171) -> LazyExamples:
    """One example per image (or per eight of its classes), a class being a phrase.

    Args:
        split: train2017 or val2017.
        classes: all 171, or the 143 that LISA and PLUM keep; the pixels of the others are ignored.

    Raises:
        ValueError: the folder of annotations is missing or empty.
    """
    return class_map_examples(root / split, _images(root, split), ".jpg", classes)


load_lisa143 = partial(load, classes=LISA143)


def labelled(root: Path, split: str, *, classes: Classes) -> list[LabelledImage]:
    """The images of a split with their label maps, for evaluation.

    Raises:
        ValueError: the folder of annotations is missing or empty, or a label map is broken.
    """
    return labelled_images(root / split, _images(root, split), ".jpg", classes)


def _images(root: Path, split: str) -> Path:
    return image_folder(root, root.parent / "coco") / split
