"""Masks of the miniature's scenes: as the model answers, and where it is given the gold answer."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

from pixsearch.config import GenerationOptions
from pixsearch.datasets.masks import encode_rle
from pixsearch.datasets.templates import reply
from pixsearch.evaluation.answering import OF_ONE_REQUEST
from pixsearch.evaluation.gold import SegmentationScene
from pixsearch.evaluation.mask_answers import ImageQuestion, MaskModel
from pixsearch.evaluation.mask_records import MaskAnswer, MaskQuestion
from pixsearch.line_store import LineStore
from pixsearch.model.features import ImageFeatures
from pixsearch.model.pixsearch import PixSearch

logger = logging.getLogger(__name__)


def segment(
    scenes: Sequence[SegmentationScene],
    store: LineStore,
    *,
    model: PixSearch,
    options: GenerationOptions,
    features: dict[str, ImageFeatures],
) -> None:
    """Append a line per scene that has none yet: its generated and its teacher-forced masks."""
    todo = [scene for scene in scenes if scene.image_id not in store.done]
    masks = MaskModel(model=model, options=options, features=features)
    with tqdm(total=len(todo), desc="segmentation", disable=not todo) as progress:
        for chunk in in_chunks(todo, options.batch_size):
            by_id = {scene.image_id: asked_of_scene(scene) for scene in chunk}
            for image_id, answer in masks.free_running([*by_id.values()]):
                store.append(_line(masks, by_id[image_id], answer))
                progress.update()


def _line(masks: MaskModel, asked: ImageQuestion, answer: MaskAnswer | Exception) -> dict[str, Any]:
    """Of one scene; where either mode fails it has no masks, but the reason."""
    try:
        if isinstance(answer, Exception):
            raise answer
        forced = masks.teacher_forced(asked)
    except OF_ONE_REQUEST as error:
        logger.warning("%s: no masks: %s", asked.image_id, error)
        return {"image_id": asked.image_id, "failed": str(error)}
    return {
        "image_id": asked.image_id,
        "failed": None,
        "answer": answer.text,
        "phrases": [*answer.phrases],
        "masks": [encode_rle(mask) for mask in answer.masks],
        "teacher_forced_masks": [encode_rle(mask) for mask in forced.masks],
    }


def in_chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """
    >>> list(in_chunks("abcde", 2))
    ['ab', 'cd', 'e']
    """
    return (items[start : start + size] for start in range(0, len(items), size))


def asked_of_scene(scene: SegmentationScene) -> ImageQuestion:
    """The scene's question with its gold answer, in a wording of the training templates."""
    phrases = tuple(phrase.phrase for phrase in scene.phrases)
    question = MaskQuestion(
        id=scene.image_id,
        text=scene.question,
        phrases=phrases,
        answer=reply(phrases, key=scene.image_id),
    )
    return ImageQuestion(question=question, image_id=scene.image_id, load_image=scene.load_image)
