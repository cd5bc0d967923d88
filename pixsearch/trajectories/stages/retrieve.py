"""Evidence is really retrieved, and judged by whether it supports the answer.

Of the candidates of a text query the first is taken whose evidence supports the answer, else the
first whose evidence says nothing of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from functools import partial
from typing import Any

from PIL import Image

from pixsearch.config import BuildStage, QueryType
from pixsearch.datasets.masks import Rle, decode_segmentation
from pixsearch.endpoint.schema import choice, record, sequence
from pixsearch.queries import Passage, Query
from pixsearch.trajectories.quarantine import Reason, Unusable
from pixsearch.trajectories.records import (
    Evidence,
    PlannedQuery,
    Response,
    SubQuestion,
    sub_questions_of,
)
from pixsearch.trajectories.stages.ground import queries_of
from pixsearch.trajectories.stages.stage import Stage
from pixsearch.trajectories.teacher.tasks import Task
from pixsearch.trajectories.tools import Job, Tools, request_of


class Verdict(StrEnum):
    """What passages say of what is asked."""

    supports = "supports"
    contradicts = "contradicts"
    silent = "silent"


SCHEMA = record(verdicts=sequence(choice(list(Verdict))))
Found = list[list[list[Passage]]]
"""Of a question: for each search and each candidate query the passages."""


def retrieve(job: Job, tools: Tools) -> dict[str, Any]:
    """`{"evidence": [Evidence]}`, up to the first search that does not support the answer."""
    found: Found = job.prepared
    response = Response.from_json(job.values[BuildStage.choose]["response"])
    sub_questions = {each.number: each for each in sub_questions_of(job.values["decompose"])}
    kept: list[Evidence] = []
    planned = zip(queries_of(job), response.segments, found, strict=True)
    for query, segment, candidates in planned:
        kept.append(_best(job, tools, query, sub_questions[segment.sub_question], candidates))
        if kept[-1].verdict != Verdict.supports:
            break
    return {"evidence": [asdict(each) for each in kept]}


def search(job: Job, tools: Tools) -> Found:
    """All queries of a question in one call; the searcher is for one thread."""
    queries = _queries(job)
    found = iter(tools.search([query for group in queries for query in group]))
    return [[next(found) for _ in group] for group in queries]


def _best(
    job: Job,
    tools: Tools,
    query: PlannedQuery,
    sub_question: SubQuestion,
    candidates: Sequence[Sequence[Passage]],
) -> Evidence:
    texts: Sequence[str | None] = query.texts or (None,)
    request = request_of(
        job,
        Task.judge,
        schema=SCHEMA,
        read=partial(_read, count=len(candidates)),
        sub_question=sub_question.question,
        expected_answer=sub_question.answer,
        candidates=[
            {"query": text or f"({query.type})", "passages": [_shown(each) for each in passages]}
            for text, passages in zip(texts, candidates, strict=True)
        ],
    )
    verdicts = tools.ask(request)
    place = min(range(len(verdicts)), key=lambda place: _RANKS[verdicts[place]])
    passages = tuple(replace(passage, score=0.0) for passage in candidates[place])
    return Evidence(text=texts[place], verdict=verdicts[place], passages=passages)


_RANKS = {Verdict.supports: 0, Verdict.silent: 1, Verdict.contradicts: 2}


def _read(answer: dict[str, Any], *, count: int) -> list[Verdict]:
    if len(answer["verdicts"]) != count:
        raise ValueError(f"there are {len(answer['verdicts'])} verdicts, not {count}")
    return [Verdict(each) for each in answer["verdicts"]]


def _shown(passage: Passage) -> dict[str, str]:
    return {"id": passage.id, "title": passage.title, "text": passage.text}


def _queries(job: Job) -> list[list[Query]]:
    """For each search its candidates."""
    planned, image = queries_of(job), None
    if any(query.type is not QueryType.text for query in planned):
        image = _image(job)
    masks = iter(job.values[BuildStage.ground]["masks"])
    try:
        return [list(_of_one(query, job, image, masks)) for query in planned]
    except ValueError as error:  # the masks are of another size than the image
        raise Unusable(Reason.no_mask, str(error)) from error


def _image(job: Job) -> Image.Image:
    assert job.asked.question.load_image is not None
    try:
        return job.asked.question.load_image()
    except ValueError as error:
        raise Unusable(Reason.broken_image, str(error)) from error


def _of_one(
    planned: PlannedQuery, job: Job, image: Image.Image | None, masks: Iterator[Rle]
) -> Iterator[Query]:
    mask = None if planned.phrase is None else next(masks)
    if planned.type is QueryType.text:
        yield from map(Query.of_text, planned.texts)
        return
    assert image is not None
    question = job.asked.question.question
    if planned.type is QueryType.image:
        yield Query.of_image(image, question=question)
        return
    assert mask is not None
    height, width = mask["size"]
    region = decode_segmentation(mask, height=height, width=width)
    yield Query.of_region(image, region, question=question)


STAGE = Stage(
    name=BuildStage.retrieve,
    work=retrieve,
    settings=("policy",),
    tasks=(Task.judge,),
    prepare=search,
    asks_source=True,
)
