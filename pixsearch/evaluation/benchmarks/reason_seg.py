"""ReasonSeg: a mask of what a phrase or a sentence asks for. Splits: val and test.

As in LISA's validation the first wording of each image's query is asked. Queries are short (a
phrase) or long (a sentence), told apart by the file's `is_sentence`.
"""

from functools import partial
from pathlib import Path

from pixsearch.chat import Grounded
from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.files import fingerprint, load_image
from pixsearch.datasets.reason_seg import ReasonSegQuery, first_queries, question_and_answer
from pixsearch.evaluation.mask_benchmark import MaskBenchmark, refuse_lisa_compat
from pixsearch.evaluation.mask_records import MaskQuestion, MaskSample, PhraseTarget
from pixsearch.evaluation.phrase_measure import PhraseMeasure, referring_figures

VERSION = 1
QUERY, SHORT, LONG = "query", "short", "long"


def load(options: BenchmarkOptions) -> MaskBenchmark:
    """
    Raises:
        ValueError: the folder has no annotation, or one of them is broken.
    """
    refuse_lisa_compat(options)
    root = Path(options.root)
    queries = first_queries(root, options.split)[: options.limit]
    return MaskBenchmark(
        name=options.name,
        version=VERSION,
        split=options.split,
        fingerprint=fingerprint((root / options.split).glob("*.json")),
        samples=tuple(_sample(query) for query in queries),
        measure=PhraseMeasure(score=referring_figures),
        protocol={
            "asked": "the first wording of each query, in the words of stage 1's training, which "
            "its id chooses",
            "giou": "mean IoU over queries",
            "ciou": "summed intersection over summed union",
            "ignored": "pixels of the shapes labelled ignore",
            QUERY: f"{LONG}: the file says that it is a sentence; {SHORT}: a phrase",
        },
    )


def _sample(query: ReasonSegQuery) -> MaskSample:
    text, answer = question_and_answer(query)
    phrases = tuple(part.phrase for part in answer if isinstance(part, Grounded))
    image = query.shapes.image
    return MaskSample(
        id=query.id,
        image_id=image.name,
        load_image=partial(load_image, image, example=query.id),
        questions=(MaskQuestion(id=query.id, text=text, phrases=phrases, answer=answer),),
        load_target=partial(_target, query),
        slices={QUERY: LONG if query.is_sentence else SHORT},
    )


def _target(query: ReasonSegQuery) -> PhraseTarget:
    load_masks, load_ignored = query.shapes.loaders(example=query.id)
    return PhraseTarget(masks=load_masks(), ignored=load_ignored() if load_ignored else None)
