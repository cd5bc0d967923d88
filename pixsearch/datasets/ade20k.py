"""ADE20K as SceneParse150 has it (`ADEChallengeData2016.zip`): 150 classes of scenes.

Layout under `root`: `images/<split>/<name>.jpg` and `annotations/<split>/<name>.png`, whose pixels
are 1 to 150, the classes in their official order; 0 is anything else and is ignored.
"""

from pathlib import Path

from pixsearch.datasets.class_maps import (
    Classes,
    LabelledImage,
    class_map_examples,
    class_names,
    labelled_images,
)
from pixsearch.datasets.lazy import LazyExamples

_OTHER = 0
CLASSES = Classes(
    names=dict(enumerate(class_names("ade20k"), start=1)), unknown=frozenset({_OTHER})
)


def load(root: Path, split: str) -> LazyExamples:
    """One example per image (or per eight of its classes), a class being a phrase.

    Args:
        split: training or validation.

    Raises:
        ValueError: the folder of annotations is missing or empty.
    """
    labels = root / "annotations" / split
    return class_map_examples(labels, root / "images" / split, ".jpg", CLASSES)


def labelled(root: Path, split: str) -> list[LabelledImage]:
    """The images of a split with their label maps, for evaluation.

    Raises:
        ValueError: the folder of annotations is missing or empty, or a label map is broken.
    """
    labels = root / "annotations" / split
    return labelled_images(labels, root / "images" / split, ".jpg", CLASSES)
