"""The batches on which the language model is pre-trained."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from pixsearch.chat import ChatRenderer, Conversation
from pixsearch.datasets.batch import Batch, collate
from pixsearch.datasets.example import Example
from pixsearch.miniature.foundation.bank import EntityBank, SceneBank, plan_scene
from pixsearch.miniature.foundation.conversations import Teacher
from pixsearch.miniature.foundation.tower import normalised, pixels
from pixsearch.tokens import add_special_tokens, find_token_ids

_TALKS, _PICTURES_WITH_ARTICLES, _READINGS = 9, 5, 5  # per step


@dataclass(frozen=True, kw_only=True, eq=False)
class Lessons:
    """Draws the conversations of a step, with the patches of their pictures."""

    entities: EntityBank
    patches: Float[Tensor, "num_scenes num_patches vision_width"]
    teacher: Teacher
    renderer: ChatRenderer
    seed: int

    def draw(
        self, generator: np.random.Generator
    ) -> tuple[Batch, Float[Tensor, "num_images num_patches vision_width"]]:
        """A batch, and the patches of its images in their order."""
        num_scenes = _TALKS + _PICTURES_WITH_ARTICLES
        chosen = generator.choice(len(self.patches), size=num_scenes, replace=False)
        plan = partial(plan_scene, self.entities.appearances, seed=self.seed)
        teacher = self.teacher
        examples = []
        for place, number in enumerate(chosen.tolist()):
            tell = teacher.about_scene if place < _TALKS else teacher.picture_with_articles
            examples.append(_example(str(number), tell(plan(number), generator)))
        for place in range(_READINGS):
            examples.append(_example(f"reading-{place}", teacher.reading(generator)))
        batch = collate(
            examples, self.renderer, max_length=2048, segmenter_size=1, mask_resolution=1
        )
        return batch, self.patches[[int(image_id) for image_id in batch.image_ids]]


def open_lessons(
    llava: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    scenes: SceneBank,
    entities: EntityBank,
    seed: int,
) -> Lessons:
    """Lessons about a bank, as the model's tower sees it.

    Args:
        tokenizer: gets PixSearch's tokens, which no lesson holds.
    """
    add_special_tokens(tokenizer)
    ids = find_token_ids(tokenizer, image_token_id=llava.config.image_token_id)
    num_patches = llava.config.image_seq_length
    return Lessons(
        entities=entities,
        patches=_see(llava, scenes),
        teacher=Teacher(entities.appearances, seed=seed),
        renderer=ChatRenderer(tokenizer, ids, num_image_tokens=num_patches),
        seed=seed,
    )


@torch.no_grad()
def _see(
    llava: LlavaForConditionalGeneration, scenes: SceneBank
) -> Float[Tensor, "num_scenes num_patches vision_width"]:
    """The tower's patches of all scenes."""
    tower = llava.model.vision_tower
    parts = [
        tower(pixel_values=normalised(pixels(part))).last_hidden_state[:, 1:]
        for part in np.array_split(scenes.squares, -(-len(scenes.squares) // 64))
    ]
    return torch.cat(parts)


def _example(id: str, conversation: Conversation) -> Example:
    """An example whose picture is never decoded: its patches are known."""
    if not conversation.has_image:
        return Example(id=id, conversation=conversation)
    return Example(id=id, conversation=conversation, image_id=id, load_image=_not_decoded)


def _not_decoded() -> Image.Image:
    raise AssertionError("pre-training takes patches from the bank, not from pictures")
