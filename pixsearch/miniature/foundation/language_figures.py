"""What the pre-trained language model can do, on held-out pictures and articles."""

from collections import defaultdict
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from pixsearch.miniature.foundation.bank import EntityBank, SceneBank
from pixsearch.miniature.foundation.language_model import next_tokens
from pixsearch.miniature.foundation.lessons import Lessons, open_lessons
from pixsearch.miniature.foundation.tokenizer import cell_ids, train_tokenizer

_STEPS = 8  # of lessons are measured token by token
_BATCH = 32  # questions
_PLACES = {
    "answers_by_first_article": 0,
    "answers_by_second_article": 1,
    "answers_by_fifth_article": 4,
    "answers_without_article": None,
}


@torch.inference_mode()
def measure_language_model(
    llava: LlavaForConditionalGeneration,
    scenes: SceneBank,
    entities: EntityBank,
    seed: int,
) -> dict[str, float]:
    """Shares of right tokens and of right answers, about held-out pictures and articles."""
    tokenizer = train_tokenizer()
    lessons = open_lessons(llava, tokenizer, scenes, entities, seed)
    cells = torch.tensor(cell_ids(tokenizer))
    return _right_tokens(llava, lessons, cells) | _right_answers(llava, lessons)


def _right_tokens(
    llava: LlavaForConditionalGeneration, lessons: Lessons, cells: Tensor
) -> dict[str, float]:
    """Share of right next tokens of the answers.

    The cells are told once more of another picture: what is right then was not seen but guessed.
    """
    hits: dict[str, list[Tensor]] = defaultdict(list)
    generators = (np.random.default_rng([lessons.seed, 8, step]) for step in range(_STEPS))
    for batch, seen in chain.from_iterable(map(lessons.draw, generators)):
        logits, targets, rows = next_tokens(llava, batch, seen)
        of_picture, of_cell = batch.image_rows[rows] >= 0, torch.isin(targets, cells)
        right = logits.argmax(-1) == targets
        hits["answer_tokens_about_pictures"].append(right[of_picture])
        hits["answer_tokens_of_readings"].append(right[~of_picture])
        hits["cells"].append(right[of_cell])
        logits, targets, _ = next_tokens(llava, batch, seen.roll(1, dims=0))
        hits["cells_with_another_picture"].append((logits.argmax(-1) == targets)[of_cell])
    return {name: float(torch.cat(values).float().mean()) for name, values in hits.items()}


def _right_answers(llava: LlavaForConditionalGeneration, lessons: Lessons) -> dict[str, float]:
    """Share of answers that are right as a whole, by the place of the article that they need.

    Tokens hide it: who reads the first article, whatever is asked, gets most of them right.
    """
    return {name: _share_of_answers(llava, lessons, place=place) for name, place in _PLACES.items()}


def _share_of_answers(
    llava: LlavaForConditionalGeneration, lessons: Lessons, *, place: int | None
) -> float:
    generator = np.random.default_rng([lessons.seed, 9])
    asked = lessons.all_with_article_at(generator, place=place)
    right: list[Tensor] = []
    for start in range(0, len(asked), _BATCH):
        batch, seen = lessons.lesson(asked[start : start + _BATCH])
        logits, targets, rows = next_tokens(llava, batch, seen)
        wrong = rows[logits.argmax(-1) != targets]
        right.append(torch.bincount(wrong, minlength=len(batch.input_ids)) == 0)
    return float(torch.cat(right).float().mean())
