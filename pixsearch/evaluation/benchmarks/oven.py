"""OVEN: which entity of Wikipedia does an image show? By text, and by the official ids."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.config import BenchmarkOptions, EntityLookup
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.benchmarks.answer_scores import SQUAD, em, f1, label_of
from pixsearch.evaluation.benchmarks.opening import any_question, open_questions
from pixsearch.evaluation.entity_names import check_entity_names, entity_ids
from pixsearch.evaluation.metrics.oven import OvenItem, Part, oven_scores
from pixsearch.evaluation.prompts import SHORT
from pixsearch.evaluation.question_benchmark import QuestionBenchmark
from pixsearch.retrieval.manifest import file_sha256

VERSION = 1
LOOKUPS = {
    EntityLookup.exact_title: "the entity whose title the answer is, but for case",
    EntityLookup.bm25: "the entity whose title the answer is, but for case, or else the first of "
    "BM25 over titles (stemmed words without stop words; the official baseline cuts titles into "
    "BERT's word pieces and asks BM25 alone)",
}


def load(options: BenchmarkOptions) -> QuestionBenchmark:
    """Read a split, val for results: both of its files, entity_val and query_val.

    Raises:
        ValueError: also where `options.entity_names` is no file of entities.
    """
    names = None if options.entity_names is None else Path(options.entity_names)
    lookup = options.entity_lookup
    if names is not None:
        check_entity_names(names)
    return open_questions(
        options,
        reader="oven",
        version=VERSION,
        prompt=SHORT,
        metrics={"em": em, "f1": f1},
        totals={"oven": partial(_total, names=names, lookup=lookup)} if names else {},
        protocol={
            "em, f1": f"of the answer with the entity's name. {SQUAD}. Not OVEN's own score",
            "oven": _about_ids(names, lookup),
            "official_missing": "the script leaves out what has no prediction: "
            "official_missing=true scores so",
        },
        splits=[f"{part}_{options.split}" for part in Part],
        check=_item if names else any_question,
    )


def _about_ids(names: Path | None, lookup: EntityLookup) -> str:
    if names is None:
        return "the official score of Wikidata ids is not there: set benchmark.entity_names"
    return (
        f"the official accuracy of Wikidata ids. {lookup} of {names.name} (SHA-256 "
        f"{file_sha256(names)}): {LOOKUPS[lookup]}. `final` is the harmonic mean of queries and "
        "entities, each that of seen and unseen; not rounded before"
    )


def _total(
    questions: Sequence[AnnotatedQuestion],
    answers: Sequence[str | None],
    *,
    names: Path,
    lookup: EntityLookup,
) -> Mapping[str, Any]:
    """The official figures, and how many answers named an entity."""
    given = {answer for answer in answers if answer}
    ids = entity_ids(given, names, lookup)
    items = [
        _item(question, None if answer is None else ids.get(answer, ""))
        for question, answer in zip(questions, answers, strict=True)
    ]
    return {
        **asdict(oven_scores(items)),
        "num_named": sum(1 for item in items if item.predicted_id),
    }


def _item(question: AnnotatedQuestion, predicted_id: str | None = None) -> OvenItem:
    """
    Raises:
        ValueError: the question is of no split, or nobody says which entity is right.
    """
    split = label_of(question, "data_split") or ""
    is_seen = "_seen" in split
    if question.entity_id is None or not (is_seen or "_unseen" in split):
        raise ValueError(
            f"OVEN's question {question.id!r} has the entity_id {question.entity_id!r} and the "
            f"data_split {split!r}; fetch its file again"
        )
    return OvenItem(
        part=Part.QUERY if question.id.startswith("oven_query_") else Part.ENTITY,
        is_seen=is_seen,
        entity_id=question.entity_id,
        predicted_id=predicted_id,
    )
