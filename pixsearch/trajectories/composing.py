"""A question and what the stages found out become a trajectory."""

from collections.abc import Iterator
from dataclasses import dataclass

from pixsearch.chat import Conversation, Grounded, Message, Part, Role, Searched, Text
from pixsearch.config import BuildStage, BuildTrajectoriesOptions, WhenSilent
from pixsearch.datasets.grammar import check_conversation
from pixsearch.datasets.masks import Rle
from pixsearch.datasets.trajectories import StoredTrajectory
from pixsearch.trajectories.quarantine import Reason, Unusable
from pixsearch.trajectories.records import Evidence, PlannedQuery, Response
from pixsearch.trajectories.sources import SourcedQuestion
from pixsearch.trajectories.stages.retrieve import Verdict
from pixsearch.trajectories.tools import Values


@dataclass(frozen=True, kw_only=True)
class _Step:
    words: str
    query: PlannedQuery
    evidence: Evidence


def with_search(
    asked: SourcedQuestion, values: Values, options: BuildTrajectoriesOptions, image: str | None
) -> StoredTrajectory:
    """The chosen answer with its evidence.

    It ends at the first search whose evidence does not support the answer, with the abstention, if
    `options.when_silent` says so.

    Raises:
        Unusable: the evidence is silent or contradicts the answer, or the grammar is broken.
    """
    response = Response.from_json(values[BuildStage.choose]["response"])
    steps = list(_steps(response, values))
    last = steps[-1].evidence
    if last.verdict == Verdict.contradicts:
        raise Unusable(Reason.contradicting_evidence, _ids(last))
    is_silent = last.verdict == Verdict.silent
    if is_silent and options.when_silent is WhenSilent.quarantine:
        raise Unusable(Reason.silent_evidence, _ids(last))
    parts = [part for step in steps for part in _parts(step)]
    parts.append(Text(text=options.abstention if is_silent else response.answer))
    num_masks = sum(step.query.phrase is not None for step in steps)
    masks = tuple(values[BuildStage.ground]["masks"][:num_masks])
    return _stored(asked, parts, image, masks)


def without_search(asked: SourcedQuestion, image: str | None) -> StoredTrajectory:
    """The gold answer as it is.

    Raises:
        Unusable: the grammar is broken, as by an answer without words.
    """
    return _stored(asked, [Text(text=asked.question.answers[0])], image, ())


def _steps(response: Response, values: Values) -> Iterator[_Step]:
    """Those that were searched: none follows one whose evidence does not support the answer."""
    queries = values[BuildStage.assign]["queries"]
    evidence = values[BuildStage.retrieve]["evidence"]
    for segment, query, found in zip(response.segments, queries, evidence, strict=False):
        yield _Step(
            words=segment.words,
            query=PlannedQuery.from_json(query),
            evidence=Evidence.from_json(found),
        )


def _parts(step: _Step) -> Iterator[Part]:
    phrase = step.query.phrase
    words = step.words if phrase is None else step.words.removesuffix(phrase)
    if words.strip():
        yield Text(text=words.strip())
    if phrase is not None:
        yield Grounded(phrase=phrase)
    yield Searched(type=step.query.type, text=step.evidence.text, passages=step.evidence.passages)


def _stored(
    asked: SourcedQuestion, parts: list[Part], image: str | None, masks: tuple[Rle, ...]
) -> StoredTrajectory:
    question = asked.question
    messages = [
        *(message for turn in question.history for message in _earlier(*turn)),
        Message(role=Role.USER, parts=(Text(text=question.question),)),
        Message(role=Role.ASSISTANT, parts=tuple(parts)),
    ]
    conversation = Conversation(messages=tuple(messages), has_image=image is not None)
    try:
        check_conversation(conversation, num_masks=len(masks), where=asked.key)
    except ValueError as error:
        raise Unusable(Reason.broken_grammar, str(error)) from error
    return StoredTrajectory(id=asked.key, conversation=conversation, image=image, masks=masks)


def _earlier(question: str, answer: str) -> Iterator[Message]:
    """A turn that is context: its answer is no target, for nobody says what it needed."""
    yield Message(role=Role.USER, parts=(Text(text=question),))
    yield Message(role=Role.ASSISTANT, parts=(Text(text=answer),), supervised=False)


def _ids(evidence: Evidence) -> str:
    return f"passages {', '.join(each.id for each in evidence.passages) or '(none)'}"
