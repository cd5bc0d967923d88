"""Each search of the chosen answer gets a query type, a phrase or the words that it asks with."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from typing import Any

from pixsearch.config import BuildStage, QueryType
from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.endpoint.schema import TEXT, TEXT_OR_NULL, choice, record, sequence
from pixsearch.trajectories.checks import has_words_of
from pixsearch.trajectories.records import PlannedQuery, Response, Segment, sub_questions_of
from pixsearch.trajectories.stages.stage import Stage
from pixsearch.trajectories.teacher.tasks import Task
from pixsearch.trajectories.tools import Job, Tools, distinct, request_of

SCHEMA = record(
    searches=sequence(
        record(type=choice(list(QueryType)), phrase=TEXT_OR_NULL, texts=sequence(TEXT))
    ),
)
_CLAUSE = re.compile(r"[^.!?;:]+$")


def assign(job: Job, tools: Tools) -> dict[str, Any]:
    """`{"queries": [PlannedQuery]}`, one per search.

    Which of the candidates of a text query is taken turns out when they are searched (retrieve.py).
    The last candidate is always the clause before the search as it stands, if it has words.
    """
    response = Response.from_json(job.values[BuildStage.choose]["response"])
    sub_questions = sub_questions_of(job.values[BuildStage.decompose])
    asked = {each.number: each.question for each in sub_questions}
    most, question = tools.options.max_text_queries, job.asked.question
    request = request_of(
        job,
        Task.assign,
        schema=SCHEMA,
        read=partial(_read, response=response, question=question, most=most),
        searches=[
            {"words_before": each.words, "sub_question": asked[each.sub_question]}
            for each in response.segments
        ],
        max_texts=most,
    )
    return {"queries": [asdict(query) for query in tools.ask(request)]}


def _read(
    answer: dict[str, Any], *, response: Response, question: AnnotatedQuestion, most: int
) -> list[PlannedQuery]:
    given = answer["searches"]
    if len(given) != len(response.segments):
        raise ValueError(f"there are {len(given)} searches, not {len(response.segments)}")
    pairs = enumerate(zip(given, response.segments, strict=True), start=1)
    return [
        _query(each, segment, where=f"search {number}", question=question, most=most)
        for number, (each, segment) in pairs
    ]


def _query(
    given: dict[str, Any], segment: Segment, *, where: str, question: AnnotatedQuestion, most: int
) -> PlannedQuery:
    type = QueryType(given["type"])
    if type is QueryType.text:
        texts = distinct([text.strip() for text in given["texts"] if text.strip()])
        if not texts:
            raise ValueError(f"{where} is of type text and has no texts")
        _check_tells_nothing(texts, question, where)
        return PlannedQuery(type=type, phrase=None, texts=_with_clause(texts, segment, most))
    if question.load_image is None:
        raise ValueError(f"{where} is of type {type}, but there is no image: only text is possible")
    phrase = (given["phrase"] or "").strip()
    if type is QueryType.region and not phrase:
        raise ValueError(f"{where} is of type region and has no phrase")
    if not segment.words.endswith(phrase):
        raise ValueError(f"{where}: the words before it do not end with the phrase {phrase!r}")
    return PlannedQuery(type=type, phrase=phrase or None)


def _check_tells_nothing(texts: Sequence[str], question: AnnotatedQuestion, where: str) -> None:
    """Whoever searches does not know the answer yet, unless the question itself says it.

    Evidence found by the answer supports it best, so that such a text would be taken.

    Raises:
        ValueError: a text holds an accepted answer.
    """
    for text, accepted in product(texts, question.answers):
        if has_words_of(text, accepted) and not has_words_of(question.question, accepted):
            raise ValueError(
                f"{where}: the text {text!r} holds the answer {accepted!r}, which is not known "
                "before it is searched for"
            )


def _with_clause(texts: Sequence[str], segment: Segment, most: int) -> tuple[str, ...]:
    clause = _CLAUSE.search(segment.words)
    words = clause.group().strip() if clause else ""
    return tuple(distinct([*texts[:most], *([words] if words else [])]))


STAGE = Stage(
    name=BuildStage.assign, work=assign, settings=("max_text_queries",), tasks=(Task.assign,)
)
