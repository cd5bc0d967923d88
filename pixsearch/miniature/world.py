"""Draws a world and writes it to disk in the official formats, for the ordinary readers.

ROOT/manifest.json                      the options; a world that fits is reused
ROOT/images/                            scenes of both splits
ROOT/photos/                            reference photos of every known entity
ROOT/knowledge_base/                    corpus.jsonl and images/: every known entity
ROOT/knowledge_base_train/              those of the training split alone
ROOT/refcoco/                           instances.json, refs(unc).p   (training scenes)
ROOT/llava/train.json                   questions that need no search (training scenes)
ROOT/questions/                         train.jsonl: questions with their gold plans, masks.json:
                                        what they point at; for the trajectories
ROOT/crag_mm/validation.parquet         the evaluation in CRAG-MM's columns
ROOT/diagnostics.jsonl, segmentation.jsonl   its gold, which scoring alone reads
ROOT/majority_answers.jsonl             commonest answers of the training questions
"""

import json
import logging
import shutil
from collections import deque
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pixsearch.config import MiniatureOptions
from pixsearch.datasets.masks import Rle, encode_rle
from pixsearch.miniature.entities import Entity, Split, article
from pixsearch.miniature.manifests import is_built, write_manifest
from pixsearch.miniature.planning import WorldPlan, plan_world
from pixsearch.miniature.scenes import Scene, draw_photo, draw_scene
from pixsearch.miniature.writing_evaluation import write_evaluation
from pixsearch.miniature.writing_training import write_training

logger = logging.getLogger(__name__)

WORLD_VERSION = 7
PHOTOS_PER_ENTITY = 3
_WORTH_PROCESSES = 200  # scenes; with fewer, processes take longer to start than to draw

SceneMasks = dict[str, list[Rle]]
"""Scene id → the run lengths of its entities' masks, in their places."""


def build_world(options: MiniatureOptions) -> WorldPlan:
    """Draw and write the world of `options`, or reuse the one that is there.

    Raises:
        ValueError: a seed of the pre-trained parts, or another world stands at `options.root`.
    """
    root = Path(options.root)
    plan = plan_world(options)
    described = {"version": WORLD_VERSION} | asdict(options) | {"root": ""}
    if is_built(root, described):
        logger.info("%s: reused", root)
        return plan
    unfinished = root.with_name(f"{root.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with _drawers(options.num_train_scenes + options.num_eval_scenes) as pool:
        masks = _draw_scenes(plan, unfinished / "images", pool)
        _draw_photos(plan, options.seed, unfinished / "photos", pool)
    for name, splits in (("", tuple(Split)), ("_train", (Split.train,))):
        folder = unfinished / f"knowledge_base{name}"
        write_knowledge_base(plan, folder, splits=splits, photos=Path("..", "photos"))
    write_training(plan, masks, unfinished)
    write_evaluation(plan, masks, unfinished)
    write_manifest(unfinished, described)
    unfinished.rename(root)
    return plan


def _drawers(num_scenes: int) -> Executor:
    """Who draws; the pictures do not hang on it."""
    if num_scenes < _WORTH_PROCESSES:
        return ThreadPoolExecutor(max_workers=1)
    return ProcessPoolExecutor(mp_context=get_context("spawn"))


def write_knowledge_base(
    plan: WorldPlan, folder: Path, *, splits: tuple[Split, ...], photos: Path
) -> None:
    """Articles of the known entities of some splits, with links to their reference photos.

    Args:
        photos: folder that holds the photos of all entities, relative to `folder`.
    """
    folder.mkdir()
    (folder / "images").symlink_to(photos)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for entity in _known(plan, splits):
            document: dict[str, Any] = {
                "id": entity.id,
                "title": entity.name,
                "contents": article(entity, plan.entities),
                "images": [f"images/{name}" for name in _photo_names(entity)],
            }
            file.write(json.dumps(document) + "\n")


def _known(plan: WorldPlan, splits: tuple[Split, ...]) -> list[Entity]:
    return [e for e in plan.entities.values() if e.known and e.split in splits]


def _photo_names(entity: Entity) -> list[str]:
    return [f"{entity.id}-{view}.png" for view in range(PHOTOS_PER_ENTITY)]


def _draw_photos(plan: WorldPlan, seed: int, folder: Path, pool: Executor) -> None:
    folder.mkdir()
    entities = _known(plan, tuple(Split))
    drawn = pool.map(partial(_draw_entity_photos, seed=seed, folder=folder), entities, chunksize=16)
    deque(tqdm(drawn, total=len(entities), desc="photos"), maxlen=0)


def _draw_entity_photos(entity: Entity, seed: int, folder: Path) -> None:
    for view, name in enumerate(_photo_names(entity)):
        photo = draw_photo(entity.appearance, (seed, 14, int(entity.id[1:]), view))
        photo.save(folder / name, compress_level=1)


def _draw_scenes(plan: WorldPlan, folder: Path, pool: Executor) -> SceneMasks:
    folder.mkdir()
    scenes = [scene for split in plan.splits.values() for scene in split.scenes]
    drawn = pool.map(partial(_draw_one_scene, folder=folder), scenes, chunksize=16)
    masks = list(tqdm(drawn, total=len(scenes), desc="scenes"))
    return {scene.id: found for scene, found in zip(scenes, masks, strict=True)}


def _draw_one_scene(scene: Scene, folder: Path) -> list[Rle]:
    drawn = draw_scene(scene)
    drawn.image.save(folder / f"{scene.id}.png", compress_level=1)
    return [encode_rle(mask) for mask in drawn.masks]
