"""Draws a world and writes it to disk in the official formats, so that the ordinary readers read it.

    ROOT/manifest.json                      the options; a world that fits is reused
    ROOT/images/                            scenes of both splits
    ROOT/knowledge_base/                    corpus.jsonl and images/: every known entity
    ROOT/knowledge_base_train/              those of the training split alone
    ROOT/refcoco/                           instances.json, refs(unc).p   (training scenes)
    ROOT/llava/train.json                   questions that need no search (training scenes)
    ROOT/questions/train.jsonl              questions with their gold plans, for the trajectories
    ROOT/crag_mm/validation.parquet         the evaluation in CRAG-MM's columns
    ROOT/crag_mm/diagnostics.jsonl, segmentation.jsonl   its gold, which scoring alone reads
"""

import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pixsearch.config import MiniatureOptions
from pixsearch.datasets.masks import Rle, encode_rle
from pixsearch.miniature.entities import Entity, Split, article
from pixsearch.miniature.planning import WorldPlan, plan_world
from pixsearch.miniature.scenes import draw_photo, draw_scene
from pixsearch.miniature.writing_evaluation import write_evaluation
from pixsearch.miniature.writing_training import write_training

logger = logging.getLogger(__name__)

WORLD_VERSION = 1
PHOTOS_PER_ENTITY = 3

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
    if _is_built(root, described):
        logger.info("%s: reused", root)
        return plan
    unfinished = root.with_name(f"{root.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    masks = _draw_scenes(plan, unfinished / "images")
    write_knowledge_base(plan, unfinished / "knowledge_base", splits=tuple(Split))
    write_knowledge_base(plan, unfinished / "knowledge_base_train", splits=(Split.train,))
    write_training(plan, masks, unfinished)
    write_evaluation(plan, masks, unfinished)
    (unfinished / "manifest.json").write_text(json.dumps(described, indent=2) + "\n")
    unfinished.rename(root)
    return plan


def write_knowledge_base(plan: WorldPlan, folder: Path, *, splits: tuple[Split, ...]) -> None:
    """Articles and reference photos of the known entities of some splits."""
    (folder / "images").mkdir(parents=True)
    known = [e for e in plan.entities.values() if e.known and e.split in splits]
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for entity in tqdm(known, desc=folder.name):
            names = [_write_photo(entity, view, folder) for view in range(PHOTOS_PER_ENTITY)]
            document: dict[str, Any] = {
                "id": entity.id,
                "title": entity.name,
                "contents": article(entity, plan.entities),
                "images": names,
            }
            file.write(json.dumps(document) + "\n")


def _write_photo(entity: Entity, view: int, folder: Path) -> str:
    name = f"images/{entity.id}-{view}.png"
    photo = draw_photo(entity.appearance, (14, int(entity.id[1:]), view))
    photo.save(folder / name, compress_level=1)
    return name


def _draw_scenes(plan: WorldPlan, folder: Path) -> SceneMasks:
    folder.mkdir()
    scenes = [scene for split in plan.splits.values() for scene in split.scenes]
    masks: SceneMasks = {}
    for scene in tqdm(scenes, desc="scenes"):
        drawn = draw_scene(scene)
        drawn.image.save(folder / f"{scene.id}.png", compress_level=1)
        masks[scene.id] = [encode_rle(mask) for mask in drawn.masks]
    return masks


def _is_built(root: Path, described: dict[str, Any]) -> bool:
    manifest = root / "manifest.json"
    if not root.exists():
        return False
    found = json.loads(manifest.read_text()) if manifest.is_file() else None
    if found != described:
        raise ValueError(
            f"{root}: holds another world than the options ask for; give another miniature.root, "
            "or remove the folder"
        )
    return True
