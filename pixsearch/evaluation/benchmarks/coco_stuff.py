"""COCO-Stuff 164k under its own protocol, and under PLUM's. Split: val2017."""

from pathlib import Path

from pixsearch.config import BenchmarkOptions, CocoStuffClasses
from pixsearch.datasets import coco_stuff
from pixsearch.evaluation.class_maps import LabelledSet, present_benchmark, semseg_benchmark
from pixsearch.evaluation.mask_benchmark import MaskBenchmark

_CLASSES = {
    CocoStuffClasses.all171: coco_stuff.ALL171,
    CocoStuffClasses.lisa143: coco_stuff.LISA143,
}


def load_semseg(options: BenchmarkOptions) -> MaskBenchmark:
    """`semseg_miou`: `options.classes`, the pixels of others and label 255 ignored.

    Raises:
        ValueError: the label maps are missing or broken.
    """
    return semseg_benchmark(options, _read(options))


def load_present(options: BenchmarkOptions) -> MaskBenchmark:
    """`refseg_present`.

    Raises:
        ValueError: the label maps are missing or broken.
    """
    return present_benchmark(options, _read(options))


def _read(options: BenchmarkOptions) -> LabelledSet:
    classes = _CLASSES[options.classes]
    images = coco_stuff.labelled(Path(options.root), options.split, classes=classes)
    return LabelledSet(images=images, classes=classes)
