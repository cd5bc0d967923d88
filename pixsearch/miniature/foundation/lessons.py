"""The batches on which the language model is pre-trained."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from pixsearch.chat import ChatRenderer, Conversation
from pixsearch.datasets.batch import Batch, collate
from pixsearch.datasets.example import Example
from pixsearch.images import SegmenterFrame
from pixsearch.miniature.foundation.bank import EntityBank, SceneBank, plan_scene
from pixsearch.miniature.foundation.conversations import Teacher
from pixsearch.miniature.foundation.tower import normalised, pixels
from pixsearch.miniature.scenes import Scene
from pixsearch.tokens import add_special_tokens, find_token_ids

_NO_MASKS = SegmenterFrame(size=1, resolution=1, keeps_ratio=True)

_TALKS, _LOOKUPS, _GLANCES = 3, 6, 6  # per step
_PICTURES_WITH_ARTICLES, _ARTICLES_TO_LOOK_AT, _READINGS, _ARTICLES_TO_READ = 7, 5, 2, 1

_Telling = Callable[[Scene, np.random.Generator], Conversation]
Lesson = tuple[Batch, Float[Tensor, "_ num_patches vision_width"]]  # _: as many as images


@dataclass(frozen=True, kw_only=True, eq=False)
class Lessons:
    """Draws the conversations of a step, with the patches of their pictures."""

    entities: EntityBank
    patches: Float[Tensor, "num_scenes num_patches vision_width"]
    teacher: Teacher
    renderer: ChatRenderer
    seed: int

    def draw(self, generator: np.random.Generator) -> tuple[Lesson, Lesson]:
        """Two batches, of short and of long conversations, each with the patches of its images."""
        teacher = self.teacher
        tellings = [teacher.about_scene] * _TALKS + [teacher.lookups] * _LOOKUPS
        tellings += [teacher.glances] * _GLANCES
        short = self._about_scenes(tellings, generator)
        tellings = [teacher.picture_with_articles] * _PICTURES_WITH_ARTICLES
        tellings += [teacher.articles_to_look_at] * _ARTICLES_TO_LOOK_AT
        long = self._about_scenes(tellings, generator)
        readings = [teacher.reading] * _READINGS + [teacher.articles_to_read] * _ARTICLES_TO_READ
        for place, tell in enumerate(readings):
            long.append(_example(f"reading-{place}", tell(generator)))
        return self.lesson(short), self.lesson(long)

    def _about_scenes(
        self, tellings: Sequence[_Telling], generator: np.random.Generator
    ) -> list[Example]:
        """One conversation of each sort, each about a scene of its own."""
        numbers = iter(generator.permutation(len(self.patches)).tolist())
        return [self._about_scene(tell, numbers, generator) for tell in tellings]

    def _about_scene(
        self, tell: _Telling, numbers: Iterator[int], generator: np.random.Generator
    ) -> Example:
        """About the next scene of which there is something to tell; in some, no words are clear."""
        for number in numbers:
            scene = plan_scene(self.entities.appearances, number, seed=self.seed)
            conversation = tell(scene, generator)
            if conversation.messages:
                return _example(str(number), conversation)
        raise ValueError("no scene of the bank suits a lesson: draw more of them (num_scenes)")

    def all_with_article_at(
        self, generator: np.random.Generator, *, place: int | None
    ) -> list[Example]:
        """Of each scene that suits, `Teacher.with_article_at`."""
        examples = []
        for number in range(len(self.patches)):
            scene = plan_scene(self.entities.appearances, number, seed=self.seed)
            conversation = self.teacher.with_article_at(scene, generator, place=place)
            if conversation is not None:
                examples.append(_example(str(number), conversation))
        return examples

    def lesson(self, examples: Sequence[Example]) -> Lesson:
        """One batch with the patches of its images."""
        batch = collate(examples, self.renderer, max_length=2048, frame=_NO_MASKS)
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
