"""Turns training questions into search-interleaved answers, with evidence really retrieved.

The gold plan says what is searched; the index of training entities answers. Where a search does not
bring the document that the answer needs, the trajectory ends with "I don't know": the evidence
decides, not the annotation. Some answers begin with a search that was forced upon them (not
supervised), so that policies which force the first query meet a model that knows what to do with
what came back. And some are given what another question found, so that the model learns to see that
passages speak of something else.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from pixsearch.chat import Conversation, Grounded, Message, Part, Role, Searched, Text
from pixsearch.config import BuildMiniatureTrajectoriesOptions, QueryType, RetrievalSource
from pixsearch.datasets.files import fingerprint, read_json
from pixsearch.datasets.masks import Rle, decode_masks
from pixsearch.datasets.trajectories import StoredTrajectory, write_trajectories
from pixsearch.miniature.manifests import is_built, read_world_manifest, write_manifest
from pixsearch.miniature.questions import Question, QuestionType, Step
from pixsearch.miniature.scenes import HEIGHT, WIDTH
from pixsearch.miniature.templates import DONT_KNOW
from pixsearch.miniature.writing_training import read_questions
from pixsearch.queries import Passage, Query, Search, search_under
from pixsearch.retrieval.info import settings_of
from pixsearch.retrieval.searcher import Searcher

logger = logging.getLogger(__name__)

VERSION = 8
TRAJECTORIES = "train.jsonl"
_REGION_SHARE = 0.25  # of visual searches in scenes of one thing that ask with the region
_FORCED_SHARES = {QueryType.image: 1.0, QueryType.text: 0.1}
# How often a question about one of several things occurs behind a search for the whole image, by
# whether it needs a search: most of those that do drop out again (_KEPT_SHARE), and what is left
# has to stand to the others as among the questions themselves, or labels are no longer read. Those
# that need none have the passages of another question but the first time: none of them matter.
_TIMES_IN_CLUTTER = {True: 4, False: 3}
_KEPT_SHARE = 0.12  # of answers that are not known behind a forced search: else they prevail
_MISLED_SHARE = 0.2  # of questions occur once more with passages that another question found
_QUERIES_PER_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class PlannedSearch:
    """A search of one draft: how it asks, and which document has to come back."""

    type: QueryType
    entity_id: str
    step: Step
    forced: bool = False


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A question with the searches that its answer will hold.

    Attributes:
        misled: what comes back from the first search is what another question found.
    """

    id: str
    question: Question
    searches: tuple[PlannedSearch, ...]
    misled: bool = False

    @property
    def forced(self) -> bool:
        return any(search.forced for search in self.searches)


def build_trajectories(options: BuildMiniatureTrajectoriesOptions) -> Path:
    """Write ROOT/trajectories/train.jsonl, unless it is there.

    Returns:
        The file.

    Raises:
        ValueError: the world or the index is missing, or the file was made from something else.
    """
    root = Path(options.miniature.root)
    folder = root / "trajectories"
    read_world_manifest(root)
    described = _described(options)
    if is_built(folder, described):
        logger.info("%s: reused", folder)
        return folder / TRAJECTORIES
    questions = read_questions(root / "questions" / "train.jsonl")
    masks: dict[str, list[Rle]] = read_json(root / "questions" / "masks.json")
    generator = _generator(options.miniature.seed)
    drafts = list(_draft(questions, masks, generator))
    generator.shuffle(drafts)  # the end is kept back in training: it shows all kinds of question
    search = search_under(options.policy, Searcher.open(options.retrieval))
    found = _Evidence(root, masks, search).of(drafts)
    passages = [
        _of_another(found, generator) if draft.misled else own
        for draft, own in zip(drafts, found, strict=True)
    ]
    stored = [
        _finish(draft, brought, masks)
        for draft, brought in zip(drafts, passages, strict=True)
        if _is_kept(draft, brought, generator)
    ]
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    count = write_trajectories(unfinished / TRAJECTORIES, stored)
    (unfinished / "images").symlink_to("../images")
    write_manifest(unfinished, described)
    unfinished.rename(folder)
    logger.info("%s: %d trajectories", folder, count)
    return folder / TRAJECTORIES


def plain_drafts(
    questions: Sequence[Question], masks: dict[str, list[Rle]], *, seed: int
) -> list[Draft]:
    """Each question with its gold plan, as `build_trajectories` has it; no other drafts.

    Args:
        masks: scene id -> one mask per thing.
        seed: of the world.
    """
    ids = {question.id for question in questions}
    drafts = _draft(questions, masks, _generator(seed))
    return [draft for draft in drafts if draft.id in ids]


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, 18])


def _described(options: BuildMiniatureTrajectoriesOptions) -> dict[str, Any]:
    """All that decides the trajectories."""
    root, index = Path(options.miniature.root), Path(options.retrieval.index)
    is_own = options.retrieval.source is RetrievalSource.index
    if options.retrieval.server or options.retrieval.fan_out or not is_own:
        raise ValueError(
            "retrieval.server, fan_out and source: trajectories are made from a local index, "
            "of the knowledge that training may see; leave all three out"
        )
    return {
        "version": VERSION,
        "seed": options.miniature.seed,
        "questions": fingerprint((root / "questions").iterdir()),
        "index": fingerprint(index.rglob("manifest.json")),
        "retrieval": settings_of(options.retrieval),
        "k": options.policy.k,
        "region_crop": str(options.policy.region_crop),
    }


def _draft(
    questions: Sequence[Question], masks: dict[str, list[Rle]], generator: np.random.Generator
) -> Iterator[Draft]:
    """Each question with its gold plan; many once more with a forced first search, some misled.

    Where a label of another thing shows what was not asked for, a question that needs a search
    occurs twice: there are few of them, and without them a label is read whose it may be.
    """
    labelled = {each.scene_id for each in questions if each.type is QuestionType.label}
    for question in questions:
        single = question.scene_id is not None and len(masks[question.scene_id]) == 1
        visual = QueryType.image if single else QueryType.region
        if single and generator.random() < _REGION_SHARE:
            visual = QueryType.region
        searches = tuple(
            PlannedSearch(
                type=QueryType.text if step.text else visual, entity_id=step.entity_id, step=step
            )
            for step in question.steps
        )
        yield Draft(id=question.id, question=question, searches=searches)
        if searches and question.scene_id in labelled:
            yield Draft(id=f"{question.id}-beside-label", question=question, searches=searches)
        if searches and generator.random() < _MISLED_SHARE:
            yield Draft(
                id=f"{question.id}-misled", question=question, searches=searches[:1], misled=True
            )
        for type, share in _FORCED_SHARES.items():
            if generator.random() < share and (type is QueryType.text or question.scene_id):
                in_clutter = type is QueryType.image and not single
                times = _TIMES_IN_CLUTTER[question.needs_search] if in_clutter else 1
                yield from _forced(question, type, times=times)


def _forced(question: Question, type: QueryType, *, times: int) -> Iterator[Draft]:
    needed = question.steps[0].entity_id if question.steps else ""
    step = Step(entity_id=needed, text=question.text if type is QueryType.text else None)
    search = PlannedSearch(type=type, entity_id=needed, step=step, forced=True)
    for number in range(times):
        yield Draft(
            id=f"{question.id}-forced-{type}-{number}",
            question=question,
            searches=(search,),
            misled=number > 0 and not question.needs_search,
        )


class _Evidence:
    """Asks the searcher for all drafts at once, in batches; no query twice."""

    def __init__(self, root: Path, masks: dict[str, list[Rle]], search: Search) -> None:
        self.images = root / "images"
        self.masks = masks
        self.search = search

    def of(self, drafts: Sequence[Draft]) -> list[list[list[Passage]]]:
        """For each draft and each of its searches the passages."""
        planned = {
            _asked(draft, search): (draft.question, search)
            for draft in drafts
            for search in draft.searches
        }
        found: list[list[Passage]] = []
        distinct = list(planned.values())
        starts = range(0, len(distinct), _QUERIES_PER_BATCH)
        for start in tqdm(starts, desc="searches of trajectories"):
            part = distinct[start : start + _QUERIES_PER_BATCH]
            found.extend(self.search([self._query(*each) for each in part]))
        results = dict(zip(planned, found, strict=True))
        return [[results[_asked(draft, each)] for each in draft.searches] for draft in drafts]

    def _query(self, question: Question, search: PlannedSearch) -> Query:
        if search.type is QueryType.text:
            return Query.of_text(str(search.step.text))
        with Image.open(self.images / f"{question.scene_id}.png") as file:
            image = file.convert("RGB")
        if search.type is QueryType.image:
            return Query.of_image(image)
        rle = self.masks[str(question.scene_id)][_place(search.step)]
        mask = decode_masks([[rle]], height=HEIGHT, width=WIDTH, example=question.id)[0]
        return Query.of_region(image, mask)


def _asked(draft: Draft, search: PlannedSearch) -> tuple[str | int | None, ...]:
    """Equal for two searches that ask the same."""
    step = search.step
    if search.type is QueryType.text:
        return search.type, step.text
    place = step.place if search.type is QueryType.region else None
    return search.type, draft.question.scene_id, place


def _of_another(
    found: Sequence[Sequence[Sequence[Passage]]], generator: np.random.Generator
) -> Sequence[Sequence[Passage]]:
    """What some other draft found first."""
    while True:
        other = found[int(generator.integers(len(found)))]
        if other:
            return other[:1]


def _is_kept(
    draft: Draft, found: Sequence[Sequence[Passage]], generator: np.random.Generator
) -> bool:
    """Not most of those whose forced search is of no help, nor those that were led right."""
    if not (draft.forced or draft.misled):
        return True
    is_supported = _supports(draft.searches[0], draft.question, found[0])
    if draft.misled and draft.question.needs_search:
        return not is_supported
    return is_supported or generator.random() < _KEPT_SHARE


def _finish(
    draft: Draft, found: Sequence[Sequence[Passage]], masks: dict[str, list[Rle]]
) -> StoredTrajectory:
    """The trajectory, which ends at the first search that does not support the answer."""
    parts: list[Part] = []
    grounded: list[Rle] = []
    supported = True
    for search, passages in zip(draft.searches, found, strict=True):
        if search.step.phrase is not None:
            parts.append(Grounded(phrase=search.step.phrase))
            grounded.append(masks[str(draft.question.scene_id)][_place(search.step)])
        parts.append(
            Searched(
                type=search.type,
                text=search.step.text,
                passages=tuple(replace(passage, score=0.0) for passage in passages),
                supervised=not search.forced,
            )
        )
        if not _supports(search, draft.question, passages):
            supported = False
            break
    parts.append(Text(text=draft.question.answer if supported else DONT_KNOW))
    return StoredTrajectory(
        id=draft.id,
        conversation=_conversation(draft.question, parts),
        image=None if draft.question.scene_id is None else f"{draft.question.scene_id}.png",
        masks=tuple(grounded),
    )


def _supports(search: PlannedSearch, question: Question, passages: Sequence[Passage]) -> bool:
    """Whether one can go on from these passages to the question's answer."""
    if not question.needs_search:
        return True
    is_there = any(passage.id == search.entity_id for passage in passages)
    if not search.forced:
        return is_there
    one_document = question.type in (QuestionType.identification, QuestionType.factoid)
    return is_there and one_document


def _conversation(question: Question, parts: Sequence[Part]) -> Conversation:
    asked = Message(role=Role.USER, parts=(Text(text=question.text),))
    answered = Message(role=Role.ASSISTANT, parts=tuple(parts))
    return Conversation(messages=(asked, answered), has_image=question.scene_id is not None)


def _place(step: Step) -> int:
    assert step.place is not None
    return step.place
