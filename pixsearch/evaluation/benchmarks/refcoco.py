"""RefCOCO, RefCOCO+ and RefCOCOg: a mask for each expression; gIoU and cIoU.

`root` is the folder of one of the three (`pixsearch.datasets.refcoco`), `name` says which.
Splits: val, testA, testB; of RefCOCOg val and test, which papers write val(U) and test(U).
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.files import fingerprint, load_image
from pixsearch.datasets.masks import times_covered
from pixsearch.datasets.refcoco import INSTANCES, refs_file
from pixsearch.datasets.referring import ReferringExpression, read_refcoco
from pixsearch.evaluation.mask_benchmark import MaskBenchmark
from pixsearch.evaluation.mask_records import MaskQuestion, MaskSample, PhraseTarget
from pixsearch.evaluation.metrics.segmentation import polygon_target
from pixsearch.evaluation.phrase_measure import PhraseMeasure, referring_figures

VERSION = 1
ASKED = "one question per expression, in the words of stage 1's training, which its id chooses"


def load(options: BenchmarkOptions) -> MaskBenchmark:
    """
    Raises:
        ValueError: a file is missing or broken, or has no such split.
    """
    root = Path(options.root)
    expressions = read_refcoco(root, options.split)[: options.limit]
    compat = options.lisa_compat
    measure = PhraseMeasure(score=referring_figures)
    target = "no pixels of several of its polygons (LISA)" if compat else "all of its polygons"
    return MaskBenchmark(
        name=options.name,
        version=VERSION,
        split=options.split,
        fingerprint=fingerprint([refs_file(root), root / INSTANCES]),
        samples=tuple(referring_sample(each, lisa_compat=compat) for each in expressions),
        measure=measure,
        measure_without_missing=replace(measure, leaves_out_missing=True),
        protocol={
            "asked": ASKED,
            "giou": "mean IoU over expressions",
            "ciou": "summed intersection over summed union",
            "target": f"an object is {target}",
        },
        asked={"lisa_compat": compat},
    )


def referring_sample(expression: ReferringExpression, *, lisa_compat: bool = False) -> MaskSample:
    """The sample of one expression."""
    return MaskSample(
        id=expression.id,
        image_id=expression.image.name,
        load_image=partial(
            load_image, expression.image, example=expression.id, size=expression.size
        ),
        questions=(MaskQuestion.of_phrases(expression.id, [expression.words]),),
        load_target=partial(_target, expression, lisa_compat=lisa_compat),
        has_target=bool(expression.segmentations),
    )


def _target(expression: ReferringExpression, *, lisa_compat: bool) -> PhraseTarget:
    height, width = expression.size
    try:
        times = times_covered(*expression.segmentations, height=height, width=width)
    except ValueError as error:
        raise ValueError(f"mask of expression {expression.id!r}: {error}") from error
    return PhraseTarget(masks=polygon_target(times, lisa_compat=lisa_compat)[None])
