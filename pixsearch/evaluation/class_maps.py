"""The two protocols of data sets with a label map per image, under two names.

`semseg_miou`, the data sets' own: all classes are asked for, and a label map is put together of
their masks. `refseg_present`, PLUM's (validate_seg.py): a class is asked for only where it is
there, and every other pixel is background, also one whose label is not known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from pixsearch.config import BenchmarkOptions, UncoveredPixels
from pixsearch.datasets.class_maps import Classes, LabelledImage
from pixsearch.datasets.files import fingerprint, load_image
from pixsearch.datasets.label_maps import read_label_map
from pixsearch.evaluation.label_map_measure import LabelMapMeasure
from pixsearch.evaluation.mask_benchmark import MaskBenchmark, refuse_lisa_compat
from pixsearch.evaluation.mask_records import (
    NO_LABEL,
    ClassLabels,
    MaskQuestion,
    MaskSample,
    PhraseTarget,
)
from pixsearch.evaluation.phrase_measure import PhraseMeasure, present_figures

SEMSEG_VERSION = 1
PRESENT_VERSION = 2
_STRANGE = -1
_NUM_LABELS = 256  # of 8 bits

_UNCOVERED = {
    UncoveredPixels.likeliest: "the likeliest class, be it less likely than not",
    UncoveredPixels.no_class: "none, which is wrong",
}


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """A split of a data set, read."""

    images: Sequence[LabelledImage]
    classes: Classes

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, in the order of their labels."""
        return tuple(self.classes.names[label] for label in sorted(self.classes.names))

    @property
    def fingerprint(self) -> str:
        return fingerprint(image.label_map for image in self.images)

    def labels(self, image: LabelledImage) -> ClassLabels:
        """Places in `names` of an image's pixels.

        Raises:
            ValueError: the picture is unreadable, of another size than it was, or has a label that
                is none of the data set's.
        """
        pixels = read_label_map(image.label_map)
        if pixels.shape != image.size:
            raise ValueError(
                f"{image.label_map}: {pixels.shape} (height, width), no longer {image.size}: open "
                "the data set again"
            )
        meaning = np.full(_NUM_LABELS, _STRANGE)
        for place, label in enumerate(sorted(self.classes.names)):
            meaning[label] = place
        for label in self.classes.unknown | self.classes.background:
            meaning[label] = NO_LABEL
        found = meaning[pixels]
        if (found == _STRANGE).any():
            strange = pixels[found == _STRANGE].min()
            raise ValueError(
                f"{image.label_map}: label {strange} is no class of this data set; fetch its own "
                "annotations"
            )
        return found


def semseg_benchmark(options: BenchmarkOptions, found: LabelledSet) -> MaskBenchmark:
    """All classes of every image, `classes_per_question` at a time."""
    refuse_lisa_compat(options)
    size = options.classes_per_question
    return MaskBenchmark(
        name=options.name,
        version=SEMSEG_VERSION,
        split=options.split,
        fingerprint=found.fingerprint,
        samples=tuple(
            _semseg_sample(image, found, size) for image in found.images[: options.limit]
        ),
        measure=LabelMapMeasure(class_names=found.names, uncovered=options.uncovered),
        protocol={
            "name": "semseg_miou",
            "asked": f"all {len(found.names)} classes of every image, {size} per question, in the "
            "words of stage 1's training",
            "label_map": "a pixel gets the class of the likeliest mask; of two masks that are as "
            "likely the class asked for first counts; a mask belongs to the class that its phrase "
            "ends in",
            "less_likely_than_not": _UNCOVERED[options.uncovered],
            "without_a_mask": "a pixel that no mask speaks of is of no class, which is wrong",
            "ignored": "pixels whose label is not known",
            "miou": "IoU of each class over the whole set, mean over the classes that occur in "
            "labels or predictions",
        },
        asked={
            "num_classes": len(found.names),
            "classes_per_question": size,
            "uncovered": options.uncovered.value,
        },
    )


def present_benchmark(options: BenchmarkOptions, found: LabelledSet) -> MaskBenchmark:
    """Each class of each image that has it, one per question."""
    refuse_lisa_compat(options)
    return MaskBenchmark(
        name=options.name,
        version=PRESENT_VERSION,
        split=options.split,
        fingerprint=found.fingerprint,
        samples=tuple(
            sample for image in found.images for sample in _present_samples(image, found)
        )[: options.limit],
        measure=PhraseMeasure(score=present_figures, mean="refseg_present_giou"),
        protocol={
            "name": "refseg_present",
            "asked": "the classes that an image has and no other, so that none can be found in "
            "vain; one per question, in the words of stage 1's training",
            "refseg_present_giou": "mean IoU over pairs of image and class",
            "refseg_present_ciou": "summed intersection over summed union",
            "refseg_present_class_mean": "mean over classes of the cIoU within each",
            "gmiou_macro": "mean over images of the mean IoU of their classes",
            "background": "all other pixels, those of unknown label too: a mask that covers them "
            "loses, as in PLUM's script, whose masks hold no ignore_index",
            "comparable": "not with semseg_miou",
        },
        asked={"num_classes": len(found.names)},
    )


def _semseg_sample(image: LabelledImage, found: LabelledSet, size: int) -> MaskSample:
    names = found.names
    questions = tuple(
        MaskQuestion.of_phrases(f"{image.id}/{start // size}", names[start : start + size])
        for start in range(0, len(names), size)
    )
    return MaskSample(
        id=image.id,
        image_id=image.id,
        load_image=_loader(image),
        questions=questions,
        load_target=partial(found.labels, image),
    )


def _present_samples(image: LabelledImage, found: LabelledSet) -> Iterator[MaskSample]:
    for label in image.labels:
        name = found.classes.names[label]
        id = f"{image.id}/{label}"
        yield MaskSample(
            id=id,
            image_id=image.id,
            load_image=_loader(image),
            questions=(MaskQuestion.of_phrases(id, [name]),),
            load_target=partial(_present_target, image, found, found.names.index(name)),
            class_name=name,
        )


def _present_target(image: LabelledImage, found: LabelledSet, place: int) -> PhraseTarget:
    return PhraseTarget(masks=(found.labels(image) == place)[None])


def _loader(image: LabelledImage) -> partial:
    return partial(load_image, image.image, example=image.id, size=image.size)
