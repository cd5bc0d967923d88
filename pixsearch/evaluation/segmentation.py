"""Masks of whole scenes: as the model answers, and where it is given the gold answer."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from jaxtyping import Bool
from torch import Tensor
from tqdm import tqdm

from pixsearch.chat import Conversation, Message, Role
from pixsearch.config import GenerationOptions, PolicyOptions
from pixsearch.datasets.masks import encode_rle
from pixsearch.datasets.templates import reply
from pixsearch.evaluation.gold import SegmentationScene
from pixsearch.generation.engine import Engine
from pixsearch.generation.records import Request
from pixsearch.line_store import LineStore
from pixsearch.model.features import ImageFeatures
from pixsearch.model.forced_masks import forced_masks
from pixsearch.model.pixsearch import PixSearch
from pixsearch.queries import Passage, Query

NO_SEARCH = PolicyOptions(name="segmentation", allow=[], max_searches=0)


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
    engine = Engine(model, _no_search, NO_SEARCH, options, feature_cache=features)
    with tqdm(total=len(todo), desc="segmentation", disable=not todo) as progress:
        for chunk in in_chunks(todo, options.batch_size):
            by_id = {scene.image_id: scene for scene in chunk}
            requests = [_request(scene) for scene in chunk]
            for finished in engine.finished(requests):
                trajectory = finished.result()
                scene = by_id[trajectory.request_id]
                forced = teacher_forced_masks(model, scene, features)
                grounded = [(each.phrase, encode_rle(each.mask)) for each in trajectory.grounded]
                store.append(
                    {
                        "image_id": scene.image_id,
                        "answer": trajectory.all_text,
                        "phrases": [phrase for phrase, _ in grounded],
                        "masks": [mask for _, mask in grounded],
                        "teacher_forced_masks": [encode_rle(mask.numpy()) for mask in forced],
                    }
                )
                progress.update()


def teacher_forced_masks(
    model: PixSearch, scene: SegmentationScene, features: dict[str, ImageFeatures]
) -> Bool[Tensor, "num_phrases height width"]:
    """The masks of a scene's phrases where the model is given the gold answer word for word."""
    if scene.image_id not in features:
        features[scene.image_id] = model.encode_image([scene.load_image()])
    masks = forced_masks(model, _gold_conversation(scene), features[scene.image_id])
    assert len(masks) == len(scene.phrases)
    return masks


def in_chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """
    >>> list(in_chunks("abcde", 2))
    ['ab', 'cd', 'e']
    """
    return (items[start : start + size] for start in range(0, len(items), size))


def _request(scene: SegmentationScene) -> Request:
    return Request(
        id=scene.image_id,
        question=scene.question,
        image=scene.load_image(),
        image_id=scene.image_id,
    )


def _gold_conversation(scene: SegmentationScene) -> Conversation:
    """The question with its gold answer, in a wording of the training templates."""
    question = Conversation.question(scene.question, has_image=True)
    parts = reply([phrase.phrase for phrase in scene.phrases], key=scene.image_id)
    answer = Message(role=Role.ASSISTANT, parts=parts)
    return replace(question, messages=(*question.messages, answer))


def _no_search(queries: Sequence[Query]) -> list[list[Passage]]:
    raise AssertionError(f"{len(queries)} queries under a policy that allows none")
