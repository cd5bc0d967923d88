"""OVEN: which entity of Wikipedia does an image show? By text, and by the official ids."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.config import BenchmarkOptions, EntityLookup
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.benchmarks.answer_scores import SQUAD, em, f1, label_of
from pixsearch.evaluation.benchmarks.opening import open_questions
from pixsearch.evaluation.entity_names import entity_ids
from pixsearch.evaluation.metrics.oven import OvenItem, Part, oven_scores
from pixsearch.evaluation.prompts import SHORT
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

VERSION = 1
LOOKUPS = {
    EntityLookup.exact_title: "the entity whose title the answer is, but for case",
    EntityLookup.bm25: "the entity whose title the answer is, but for case, or else the first of "
    "BM25 over titles (stemmed words without stop words; the official baseline cuts titles into "
    "BERT's word pieces and asks BM25 alone)",
}


def load(options: BenchmarkOptions) -> QuestionBenchmark:
    """Read a split, val for results: both of its files, entity_val and query_val."""
    is_official = options.entity_names is not None
    return open_questions(
        options,
        reader="oven",
        version=VERSION,
        prompt=SHORT,
        metrics={"em": em, "f1": f1},
        totals={"oven": partial(_total, options=options)} if is_official else {},
        protocol={
            "em, f1": f"of the answer with the entity's name. {SQUAD}. Not OVEN's own score",
            "oven": _about_ids(options),
            "official_missing": "the script leaves out what has no prediction: "
            "official_missing=true scores so",
        },
        splits=[f"{part}_{options.split}" for part in Part],
    )


def _about_ids(options: BenchmarkOptions) -> str:
    if options.entity_names is None:
        return "the official score of Wikidata ids is not there: set benchmark.entity_names"
    return (
        f"the official accuracy of Wikidata ids. {options.entity_lookup} of "
        f"{Path(options.entity_names).name}: {LOOKUPS[options.entity_lookup]}. `final` is the "
        "harmonic mean of queries and entities, each that of seen and unseen; not rounded before"
    )


def _total(
    questions: Sequence[AnnotatedQuestion],
    answers: Sequence[str | None],
    *,
    options: BenchmarkOptions,
) -> Mapping[str, Any]:
    """The official figures, and how many answers named an entity."""
    assert options.entity_names is not None
    given = {answer for answer in answers if answer}
    ids = entity_ids(given, Path(options.entity_names), options.entity_lookup)
    items = [
        _item(question, None if answer is None else ids.get(answer, ""))
        for question, answer in zip(questions, answers, strict=True)
    ]
    return {
        **asdict(oven_scores(items)),
        "num_named": sum(1 for item in items if item.predicted_id),
    }


def _item(question: AnnotatedQuestion, predicted_id: str | None) -> OvenItem:
    assert question.entity_id is not None
    return OvenItem(
        part=Part.QUERY if question.id.startswith("oven_query_") else Part.ENTITY,
        is_seen="_seen" in (label_of(question, "data_split") or ""),
        entity_id=question.entity_id,
        predicted_id=predicted_id,
    )
