"""Hand-made gold and predictions, small enough to score in one's head."""

from dataclasses import replace

import numpy as np
from PIL import Image

from pixsearch.config import QueryType
from pixsearch.datasets.masks import encode_rle
from pixsearch.evaluation.benchmark import Benchmark
from pixsearch.evaluation.gold import (
    Gold,
    GoldSearch,
    Sample,
    SceneKind,
    ScenePhrase,
    SegmentationScene,
)
from pixsearch.evaluation.prediction import AskedQuery, Prediction, verdict_on

SIDE = 32


def box(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def picture() -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), (120, 90, 60))


def gold(name: str, **changes: object) -> Gold:
    """An egocentric knowledge question whose region search should find `e1`."""
    search = GoldSearch(type=QueryType.region, entity_id="e1", mask=encode_rle(box(2, 2, 8, 8)))
    standard = Gold(
        interaction_id=name,
        image_id="scene1",
        scene_kind=SceneKind.EGOCENTRIC,
        question_type="factoid",
        answer_kind="country",
        needs_search=True,
        answerable=True,
        answer="Osmeth",
        aliases=("the land of Osmeth",),
        searches=(search,),
    )
    return replace(standard, **changes)


def sample(name: str, **changes: object) -> Sample:
    return Sample(question=f"Question {name}?", load_image=picture, gold=gold(name, **changes))


def scene() -> SegmentationScene:
    phrases = tuple(
        ScenePhrase(
            phrase=f"thing {number}",
            mask=encode_rle(box(0, 10 * number, 8, 8)),
            entity_id=f"e{number + 1}",
            is_lookalike=number == 2,
        )
        for number in range(3)
    )
    return SegmentationScene(
        image_id="scene1", load_image=picture, question="Mark all.", phrases=phrases
    )


def benchmark() -> Benchmark:
    """Two egocentric knowledge questions, a plain non-egocentric one, an unanswerable one."""
    plain = {
        "image_id": "scene2",
        "scene_kind": SceneKind.NON_EGOCENTRIC,
        "question_type": "counting",
        "answer_kind": "number",
        "needs_search": False,
        "answer": "3",
        "aliases": ("three",),
        "searches": (),
    }
    return Benchmark(
        name="toy",
        version=1,
        fingerprint="f" * 64,
        samples=(
            sample("a"),
            sample("b"),
            sample("c", **plain),
            sample("d", answerable=False, answer="I don't know", aliases=(), searches=()),
        ),
        scenes=(scene(),),
        majority_answers={("factoid", "country"): "Osmeth"},
    )


def query(*ids: str, kind: QueryType = QueryType.region) -> AskedQuery:
    return AskedQuery(
        type=kind,
        text="words" if kind is QueryType.text else None,
        mask=encode_rle(box(2, 2, 8, 8)) if kind is QueryType.region else None,
        empty_mask=None,
        forced=False,
        passage_ids=ids,
        scores=tuple(0.5 for _ in ids),
        num_injected=len(ids),
        seconds=0.05,
    )


def prediction(of: Sample, answer: str, *queries: AskedQuery) -> Prediction:
    return Prediction(
        interaction_id=of.id,
        image_id=of.gold.image_id,
        question=of.question,
        answer=answer,
        all_text=f"Let me see. {answer}",
        gold=of.gold.answer,
        verdict=verdict_on(of.gold, answer),
        queries=queries,
        grounded=(),
        token_counts={"generated": 4},
        finish_reason="end",
        unavailable=0,
        seconds=0.1,
    )
