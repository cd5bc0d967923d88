"""ADE20K (SceneParse150) under its own protocol, and under PLUM's. Split: validation."""

from pathlib import Path

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets import ade20k
from pixsearch.evaluation.class_maps import LabelledSet, present_benchmark, semseg_benchmark
from pixsearch.evaluation.mask_benchmark import MaskBenchmark


def load_semseg(options: BenchmarkOptions) -> MaskBenchmark:
    """`semseg_miou`: 150 classes, label 0 (other) ignored.

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
    images = ade20k.labelled(Path(options.root), options.split)
    return LabelledSet(images=images, classes=ade20k.CLASSES)
