"""gRefCOCO: expressions of no, one or several objects, with the rules of ReLA's script.

`root` holds `grefs(unc).json` and `instances.json`. Splits: val, testA, testB.
"""

from pathlib import Path

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.files import fingerprint
from pixsearch.datasets.refcoco import INSTANCES
from pixsearch.datasets.referring import GREFS_FILE, read_grefcoco
from pixsearch.evaluation.benchmarks.refcoco import ASKED, referring_sample
from pixsearch.evaluation.mask_benchmark import MaskBenchmark, refuse_lisa_compat
from pixsearch.evaluation.phrase_measure import PhraseMeasure, by_gref_rules, gref_figures

VERSION = 1


def load(options: BenchmarkOptions) -> MaskBenchmark:
    """
    Raises:
        ValueError: a file is missing or broken, or has no such split.
    """
    refuse_lisa_compat(options)
    root = Path(options.root)
    expressions = read_grefcoco(root, options.split)[: options.limit]
    return MaskBenchmark(
        name=options.name,
        version=VERSION,
        split=options.split,
        fingerprint=fingerprint([root / GREFS_FILE, root / INSTANCES]),
        samples=tuple(referring_sample(each) for each in expressions),
        measure=PhraseMeasure(score=gref_figures, rule=by_gref_rules),
        protocol={
            "asked": ASKED,
            "mask": "the first mask of an answer is its mask, also where several objects are meant",
            "target": "the union of all objects that are meant",
            "no_target": "said by an empty or a missing mask; right: IoU 1, nothing summed; "
            "missed: IoU 0, its union summed; a target not seen: no intersection",
        },
    )
