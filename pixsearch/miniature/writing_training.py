"""Writes the training side of a world: RefCOCO, LLaVA conversations, questions for trajectories."""

import json
import pickle
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from pixsearch.datasets.files import JsonLines
from pixsearch.datasets.masks import Rle
from pixsearch.miniature.descriptions import Turn, talk
from pixsearch.miniature.entities import Split
from pixsearch.miniature.expressions import expressions
from pixsearch.miniature.planning import WorldPlan
from pixsearch.miniature.questions import Asker, Question, QuestionType, Step
from pixsearch.miniature.readings import articles_beside, read_beside
from pixsearch.miniature.scenes import HEIGHT, WIDTH, Scene

_EXPRESSIONS_PER_ENTITY = 2
_QUESTIONS_PER_SCENE = 4  # of a conversation
_QUESTIONS_PER_READING = 6


def write_training(plan: WorldPlan, masks: dict[str, list[Rle]], root: Path) -> None:
    """All files of the training split but the trajectories, which need an index."""
    split = plan.splits[Split.train]
    seed = split.scenes[0].seed[0]
    _write_refcoco(split.scenes, masks, root / "refcoco", np.random.default_rng([seed, 15]))
    asker = Asker(plan.entities, Split.train, np.random.default_rng([seed, 16]))
    _write_llava(split.scenes, asker, root / "llava")
    write_questions(split.questions, root / "questions" / "train.jsonl")
    with (root / "questions" / "masks.json").open("w") as file:
        json.dump({scene.id: masks[scene.id] for scene in split.scenes}, file)


def write_questions(questions: tuple[Question, ...], path: Path) -> None:
    """One question per line, with its plan."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(asdict(question))}\n" for question in questions))


def read_questions(path: Path) -> list[Question]:
    """The inverse of `write_questions`.

    Raises:
        ValueError: the file is missing or a line is broken; names file and line.
    """
    return [_parse_question(record) for record in JsonLines(path)]


def _parse_question(record: dict[str, Any]) -> Question:
    steps = tuple(Step(**step) for step in record.pop("steps"))
    return Question(steps=steps, type=QuestionType(record.pop("type")), **record)


def _write_refcoco(
    scenes: tuple[Scene, ...],
    masks: dict[str, list[Rle]],
    folder: Path,
    generator: np.random.Generator,
) -> None:
    """Every entity of every scene with up to two expressions; images are those of the world."""
    folder.mkdir()
    (folder / "images").symlink_to("../images")
    images, annotations, refs = [], [], []
    for image_id, scene in enumerate(scenes):
        name = f"{scene.id}.png"
        images.append({"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH})
        for place in generator.permutation(len(scene.placed)):
            words = list(expressions(scene.placed, int(place)).values())
            if not words:
                continue
            chosen = [words[i] for i in generator.permutation(len(words))[:_EXPRESSIONS_PER_ENTITY]]
            annotations.append(_annotation(len(annotations), image_id, masks[scene.id][place]))
            refs.append(_reference(len(refs), image_id, name, chosen))
    categories = [{"id": 0, "name": "object", "supercategory": "object"}]
    described = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(described))
    with (folder / "refs(unc).p").open("wb") as file:
        pickle.dump(refs, file, protocol=2)


def _annotation(id: int, image_id: int, mask: Rle) -> dict[str, Any]:
    return {
        "id": id,
        "image_id": image_id,
        "category_id": 0,
        "segmentation": mask,
        "area": int(coco_mask.area(mask)),
        "bbox": coco_mask.toBbox(mask).tolist(),
        "iscrowd": 0,
    }


def _reference(id: int, image_id: int, name: str, words: list[str]) -> dict[str, Any]:
    """The reference to annotation `id`: one each, in the same order."""
    sentences = [
        {"sent_id": number, "raw": sent, "sent": sent, "tokens": sent.split()}
        for number, sent in enumerate(words, start=id * _EXPRESSIONS_PER_ENTITY)
    ]
    return {
        "ref_id": id,
        "image_id": image_id,
        "ann_id": id,
        "category_id": 0,
        "file_name": name,
        "split": "train",
        "sent_ids": [sentence["sent_id"] for sentence in sentences],
        "sentences": sentences,
    }


def _write_llava(scenes: tuple[Scene, ...], asker: Asker, folder: Path) -> None:
    """Conversations about each scene, and about the cluttered ones another with articles.

    The first holds questions that the picture answers and what stands where. In the second the
    articles are read beside the picture: so the model keeps in both stages what it can do without a
    search.
    """
    folder.mkdir()
    (folder / "images").symlink_to("../images")
    items = []
    for scene in scenes:
        told = talk(scene, asker, num_questions=_QUESTIONS_PER_SCENE)
        items.append(_conversation(scene, scene.id, told))
    for scene in scenes:
        if scene.egocentric:
            read = {each.id: each for each in articles_beside(scene, asker)}
            turns = list(read_beside(scene, read, asker, count=_QUESTIONS_PER_READING))
            if turns:
                items.append(_conversation(scene, f"{scene.id}-articles", turns))
    (folder / "train.json").write_text(json.dumps(items))


def _conversation(scene: Scene, id: str, turns: Iterable[Turn]) -> dict[str, Any]:
    said = [
        {"from": speaker, "value": words}
        for turn in turns
        for speaker, words in zip(("human", "gpt"), turn, strict=True)
    ]
    said[0]["value"] = f"<image>\n{said[0]['value']}"
    return {"id": id, "image": f"{scene.id}.png", "conversations": said}
