"""One question, answered and written to a folder: `scripts/infer.py`."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixsearch.config import InferOptions
from pixsearch.generation.opening import check_options, open_engine, open_model
from pixsearch.generation.records import Request, SearchRecord, Trajectory
from pixsearch.queries import refuse_control, search_under
from pixsearch.retrieval.opening import open_searcher

logger = logging.getLogger(__name__)


def infer(options: InferOptions) -> Trajectory:
    """Answer `options.question`; write answer.json and a mask-N.png per grounded phrase.

    Raises:
        ValueError: image, checkpoint or index are missing or do not fit, the policy is a
            control experiment, or the checkpoint is a plain model that cannot answer under it.
        SearchFailed: a search failed, unless `policy.on_search_failure=answer_without`.
    """
    refuse_control(options.policy)
    image = _open_image(options.image) if options.image is not None else None
    check_options(options.checkpoint, options.policy, options.generation)
    model = open_model(options.checkpoint)
    searcher, policy = open_searcher(options.retrieval), options.policy
    engine = open_engine(model, search_under(policy, searcher), policy, options.generation)
    request = Request(id="infer", question=options.question, image=image)
    trajectory = engine.generate([request])[0]
    _write(trajectory, options)
    logger.info("%s", trajectory.answer_text)
    return trajectory


def _open_image(path: str) -> Image.Image:
    if not Path(path).is_file():
        raise ValueError(f"image={path}: there is no such file; give the path of a picture")
    try:
        return Image.open(path).convert("RGB")
    except OSError as error:
        raise ValueError(f"image={path}: {error}; give the path of a picture") from error


def _write(trajectory: Trajectory, options: InferOptions) -> None:
    folder = Path(options.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for number, grounded in enumerate(trajectory.grounded):
        Image.fromarray(grounded.mask.astype(np.uint8) * 255).save(folder / f"mask-{number}.png")
    answer = {
        "question": options.question,
        "image": options.image,
        "answer": trajectory.answer_text,
        "all_text": trajectory.all_text,
        "phrases": [grounded.phrase for grounded in trajectory.grounded],
        "searches": [describe_search(search) for search in trajectory.searches],
        "finish_reason": trajectory.finish_reason.value,
    }
    (folder / "answer.json").write_text(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")


def describe_search(search: SearchRecord) -> dict[str, Any]:
    """A search as JSON, for people: its passages by id and title, no mask."""
    return {
        "type": search.type.value,
        "text": search.text,
        "forced": search.forced,
        "empty_mask": search.empty_mask_action and search.empty_mask_action.value,
        "passages": [{"id": found.id, "title": found.title} for found in search.passages],
        "num_injected": search.num_injected,
        "failed": search.failed,
    }
