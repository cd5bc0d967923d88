"""The miniature world as a source of questions and a teacher, for the builder of trajectories.

The teacher answers every request by rules, from the gold plans by which the miniature's own builder
(trajectories.py) works. Both find the same evidence and write the same answers; the own builder
also forces and misleads some searches, which no teacher would.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.config import BuildTrajectoriesOptions, QueryType, QuestionKind, TeacherKind
from pixsearch.datasets.files import image_key, load_image, read_json
from pixsearch.datasets.masks import Rle
from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.endpoint.request import ChatRequest, Correction, Reply
from pixsearch.miniature.manifests import read_world_manifest
from pixsearch.miniature.questions import Question, QuestionType
from pixsearch.miniature.trajectories import Draft, plain_drafts
from pixsearch.miniature.writing_training import read_questions
from pixsearch.trajectories.build import OwnParts
from pixsearch.trajectories.grounding import GivenMasks
from pixsearch.trajectories.teacher.tasks import Task

READER = "miniature"
KINDS = {
    QuestionType.attribute: QuestionKind.visual_attribute,
    QuestionType.counting: QuestionKind.visual_counting,
    QuestionType.yes_no: QuestionKind.visual_binary,
    QuestionType.label: QuestionKind.ocr_read,
    QuestionType.identification: QuestionKind.fine_grained_entity,
    QuestionType.factoid: QuestionKind.factoid,
    QuestionType.two_hop: QuestionKind.multi_hop_knowledge,
    QuestionType.comparison: QuestionKind.multi_hop_knowledge,
}


def load(root: Path, split: str) -> list[AnnotatedQuestion]:
    """The questions of a world's training side, whose gold plans are not part of them.

    Raises:
        ValueError: no world is there, or another split is asked for.
    """
    if split != "train":
        raise ValueError(f"reader {READER} has the split train, not {split!r}")
    return [_annotated(question, root) for question in read_questions(_questions(root))]


class MiniatureTeacher:
    """Answers requests about the questions of one world, by their gold plans.

    Of the candidate responses it writes every second one is right; the others search once too
    little, or in the wrong order.
    """

    def __init__(self, drafts: dict[str, Draft]) -> None:
        """
        Args:
            drafts: by key of the question (`SOURCE/ID`).
        """
        self._drafts = drafts
        self._rules: dict[Task, Callable[[Draft, dict[str, Any]], Any]] = {
            Task.select: _select,
            Task.decompose: _decompose,
            Task.respond: _respond,
            Task.refine: _refine,
            Task.choose: _choose,
            Task.assign: _assign,
            Task.judge: _judge,
        }

    def complete(self, request: ChatRequest, corrections: Sequence[Correction]) -> Reply:
        """See `pixsearch.endpoint.request.Chat`."""
        assert not corrections, corrections
        draft = self._drafts[request.question_key]
        return Reply(text=json.dumps(self._rules[request.task](draft, request.fields)))


def miniature_parts(options: BuildTrajectoriesOptions) -> OwnParts | None:
    """Reader, teacher and masks of the world that `options.sources` names; None for an endpoint.

    Raises:
        ValueError: the teacher is the miniature's and its sources are not one world.
    """
    if options.teacher.kind is not TeacherKind.miniature:
        return None
    worlds = {name: source for name, source in options.sources.items() if source.reader == READER}
    if len(worlds) != 1 or len(options.sources) != 1:
        raise ValueError(
            f"teacher.kind=miniature answers for one source with reader={READER}; the sources are "
            f"{', '.join(options.sources) or 'none'}"
        )
    ((name, source),) = worlds.items()
    root = Path(source.root)
    masks: dict[str, list[Rle]] = read_json(root / "questions" / "masks.json")
    seed = read_world_manifest(root)["seed"]
    drafts = plain_drafts(read_questions(_questions(root)), masks, seed=seed)
    return OwnParts(
        readers={READER: load},
        teacher=MiniatureTeacher({f"{name}/{draft.id}": draft for draft in drafts}),
        masks=GivenMasks(_masks_of_phrases(name, drafts, masks)),
    )


def _questions(root: Path) -> Path:
    return root / "questions" / "train.jsonl"


def _annotated(question: Question, root: Path) -> AnnotatedQuestion:
    path = None if question.scene_id is None else root / "images" / f"{question.scene_id}.png"
    return AnnotatedQuestion(
        id=question.id,
        question=question.text,
        answers=(question.answer,),
        image_id=path and image_key(path),
        load_image=path and partial(load_image, path, example=question.id),
        image_file=path and str(path),
        labels=(("type", str(question.type)),),
    )


def _masks_of_phrases(
    source: str, drafts: Sequence[Draft], masks: dict[str, list[Rle]]
) -> dict[tuple[str, str], Rle]:
    return {
        (f"{source}/{draft.id}", str(search.step.phrase)): masks[str(draft.question.scene_id)][
            search.step.place
        ]
        for draft in drafts
        for search in draft.searches
        if search.step.place is not None
    }


def _select(draft: Draft, fields: dict[str, Any]) -> dict[str, Any]:
    question = draft.question
    return {"needs_search": question.needs_search, "kind": str(KINDS[question.type])}


def _decompose(draft: Draft, fields: dict[str, Any]) -> dict[str, Any]:
    sub_questions = [
        {"question": f"What is known of {_asked_for(draft, place)}?", "needs_search": True,
         "answer": draft.question.answer if place == len(draft.searches) - 1 else ""}
        for place in range(len(draft.searches))
    ]  # fmt: skip
    return {"sub_questions": sub_questions}


def _respond(draft: Draft, fields: dict[str, Any]) -> dict[str, Any]:
    right = [
        {"words": search.step.phrase or "", "sub_question": place}
        for place, search in enumerate(draft.searches, start=1)
    ]
    wrong = (right[:-1], right[::-1] if len(right) > 1 else right * 2)
    segments = [right if place % 2 else wrong[place // 2 % 2]
                for place in range(1, fields["num_responses"] + 1)]  # fmt: skip
    answer = draft.question.answer
    return {"responses": [{"segments": each, "answer": answer} for each in segments]}


def _refine(draft: Draft, fields: dict[str, Any]) -> dict[str, Any]:
    """As they are: what is wrong is to be seen by the builder itself."""
    kept = ("segments", "answer")
    return {"responses": [{name: each[name] for name in kept} for each in fields["responses"]]}


def _choose(draft: Draft, fields: dict[str, Any]) -> dict[str, Any]:
    return {"reason": "the first of equals", "chosen": 1}


def _assign(draft: Draft, fields: dict[str, Any]) -> dict[str, Any]:
    searches = [
        {
            "type": str(search.type),
            "phrase": search.step.phrase,
            "texts": [search.step.text] if search.type is QueryType.text else [],
        }
        for search in draft.searches
    ]
    return {"searches": searches}


def _judge(draft: Draft, fields: dict[str, Any]) -> dict[str, Any]:
    """Whether the document came back that the step is about."""
    asked = fields["sub_question"]
    places = range(len(draft.searches))
    search = next(draft.searches[p] for p in places if _asked_for(draft, p) in asked)
    found = [
        any(passage["id"] == search.entity_id for passage in candidate["passages"])
        for candidate in fields["candidates"]
    ]
    return {"verdicts": ["supports" if each else "silent" for each in found]}


def _asked_for(draft: Draft, place: int) -> str:
    step = draft.searches[place].step
    return f"{step.text or step.phrase} (step {place + 1})"
