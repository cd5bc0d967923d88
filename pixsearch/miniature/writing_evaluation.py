"""Writes the evaluation of a world: CRAG-MM's columns, and the gold that scoring alone reads."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixsearch.datasets.crag_mm import CragMMQuestion
from pixsearch.datasets.crag_mm_writer import CragMMSession, write_crag_mm
from pixsearch.datasets.masks import Rle
from pixsearch.miniature.entities import Split
from pixsearch.miniature.expressions import choose_expression
from pixsearch.miniature.planning import WorldPlan
from pixsearch.miniature.questions import Question, QuestionType, gold_types
from pixsearch.miniature.scenes import Placed, Scene
from pixsearch.miniature.templates import SEGMENTATION

_FEWEST_PHRASES, _MOST_PHRASES = 3, 4  # of one question for masks
_CATEGORIES = {
    QuestionType.attribute: "simple-recognition",
    QuestionType.counting: "aggregation",
    QuestionType.yes_no: "simple-recognition",
    QuestionType.label: "simple-recognition",
    QuestionType.identification: "simple-recognition",
    QuestionType.factoid: "simple-knowledge",
    QuestionType.two_hop: "multi-hop",
    QuestionType.comparison: "comparison",
}


def write_evaluation(plan: WorldPlan, masks: dict[str, list[Rle]], root: Path) -> None:
    """The evaluation's parquet file and gold, and the training split's majority answers."""
    split = plan.splits[Split.eval]
    scenes = {scene.id: scene for scene in split.scenes}
    folder = root / "crag_mm"
    folder.mkdir()
    (folder / "images").symlink_to("../images")
    write_crag_mm(
        (_session(question, scenes, root) for question in split.questions),
        folder / "validation.parquet",
    )
    diagnostics = [_diagnosis(question, scenes, masks) for question in split.questions]
    _write_lines(root / "diagnostics.jsonl", diagnostics)
    generator = np.random.default_rng([split.scenes[0].seed[0], 17])
    segmentation = [_segmentation(scene, masks, generator) for scene in split.scenes]
    _write_lines(root / "segmentation.jsonl", [record for record in segmentation if record])
    majority = majority_answers(plan.splits[Split.train].questions)
    _write_lines(root / "majority_answers.jsonl", majority)


def majority_answers(questions: Sequence[Question]) -> list[dict[str, Any]]:
    """The commonest answer of each sort of question that needs a search: what a guess can reach."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for question in questions:
        if question.needs_search and question.answerable:
            sort = (str(question.type), question.answer_kind)
            counts.setdefault(sort, Counter())[question.answer] += 1
    return [
        {"question_type": type, "answer_kind": kind, "answer": counter.most_common(1)[0][0]}
        for (type, kind), counter in sorted(counts.items())
    ]


def _session(question: Question, scenes: dict[str, Scene], root: Path) -> CragMMSession:
    """Egocentric images are embedded, others named: so CRAG-MM tells them apart."""
    turn = CragMMQuestion(
        interaction_id=question.id,
        question=question.text,
        answer=question.answer,
        domain="general object recognition",
        query_category=_CATEGORIES[question.type],
        dynamism="static",
        image_quality="normal",
    )
    image, url = None, None
    if question.scene_id is not None:
        name = f"images/{question.scene_id}.png"
        if scenes[question.scene_id].egocentric:
            image = (root / name).read_bytes()
        else:
            url = name
    return CragMMSession(session_id=question.id, turns=(turn,), image=image, image_url=url)


def _diagnosis(
    question: Question, scenes: dict[str, Scene], masks: dict[str, list[Rle]]
) -> dict[str, Any]:
    scene = scenes[question.scene_id] if question.scene_id else None
    kind = "none" if scene is None else "egocentric" if scene.egocentric else "non_egocentric"
    types = gold_types(question, egocentric=scene is not None and scene.egocentric)
    searches = [
        {
            "type": str(type),
            "entity_id": step.entity_id,
            "text": step.text,
            "mask": None if step.place is None else masks[str(question.scene_id)][step.place],
        }
        for type, step in zip(types, question.steps, strict=True)
    ]
    return {
        "interaction_id": question.id,
        "image_id": question.scene_id,
        "scene_kind": kind,
        "question_type": str(question.type),
        "answer_kind": question.answer_kind,
        "needs_search": question.needs_search,
        "answerable": question.answerable,
        "answer": question.answer,
        "aliases": [],
        "searches": searches,
        "pair_id": question.pair,
    }


def _segmentation(
    scene: Scene, masks: dict[str, list[Rle]], generator: np.random.Generator
) -> dict[str, Any] | None:
    """Three or four entities of a cluttered scene that words can name; None if they are fewer."""
    phrases = []
    silhouettes = Counter(_silhouette(placed) for placed in scene.placed)
    for place in generator.permutation(len(scene.placed)):
        words = choose_expression(generator, scene.placed, int(place))
        if words is not None:
            placed = scene.placed[place]
            phrases.append(
                {
                    "phrase": words,
                    "mask": masks[scene.id][place],
                    "entity_id": placed.entity_id,
                    "lookalike": silhouettes[_silhouette(placed)] > 1,
                }
            )
    if len(phrases) < _FEWEST_PHRASES:
        return None
    phrases = phrases[:_MOST_PHRASES]
    *firsts, last = [phrase["phrase"] for phrase in phrases]
    return {
        "image_id": scene.id,
        "image": f"images/{scene.id}.png",
        "question": SEGMENTATION.format(x=f"{', '.join(firsts)} and {last}"),
        "phrases": phrases,
    }


def _silhouette(placed: Placed) -> tuple[str, int]:
    """Equal for two things of the same silhouette."""
    return placed.appearance.kind, placed.appearance.silhouette


def _write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
