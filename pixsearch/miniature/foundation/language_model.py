"""Pre-trains the language model: a stock, tiny LLaVA that talks about what the tower sees.

Real runs start from a LLaVA that can describe a picture and read a text. So does the miniature; it
knows nothing of searching or of masks.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from pixsearch.chat import ChatRenderer, Conversation
from pixsearch.datasets.batch import IGNORED, Batch, collate
from pixsearch.datasets.example import Example
from pixsearch.miniature.foundation.bank import EntityBank, SceneBank, plan_scene
from pixsearch.miniature.foundation.conversations import Reader, about_scene
from pixsearch.miniature.foundation.loop import StepLosses, pretrain
from pixsearch.miniature.foundation.tokenizer import IMAGE, train_tokenizer
from pixsearch.miniature.foundation.tower import normalised, pixels
from pixsearch.model.backbone import splice_patches
from pixsearch.tokens import add_special_tokens, find_token_ids

HIDDEN = 192
NUM_LAYERS = 4
_INIT_RANGE = 0.06  # transformers' 0.02 suits widths of a thousand and more
_SCENES_PER_STEP = 12
_READINGS_PER_STEP = 6
_WHITENING_FLOOR = 0.01  # of the mean variance, below which a direction counts as noise


def language_model_config(
    vision: CLIPVisionConfig, tokenizer: PreTrainedTokenizerFast
) -> LlavaConfig:
    """Four layers of width 192 over the tower's 64 patches."""
    return LlavaConfig(
        vision_config=vision.to_dict(),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            intermediate_size=512,
            num_hidden_layers=NUM_LAYERS,
            num_attention_heads=6,
            num_key_value_heads=6,
            max_position_embeddings=2048,
            initializer_range=_INIT_RANGE,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            tie_word_embeddings=False,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(vision.image_size // vision.patch_size) ** 2,
        vision_feature_layer=-1,
        tie_word_embeddings=False,
        initializer_range=_INIT_RANGE,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Lessons:
    """Draws the conversations of a step, with the patches of their pictures."""

    entities: EntityBank
    patches: Float[Tensor, "num_scenes num_patches vision_width"]
    reader: Reader
    renderer: ChatRenderer
    seed: int

    def draw(
        self, generator: np.random.Generator
    ) -> tuple[Batch, Float[Tensor, "num_images num_patches vision_width"]]:
        """A batch, and the patches of its images in their order."""
        chosen = generator.choice(len(self.patches), size=_SCENES_PER_STEP, replace=False)
        looks = self.entities.appearances
        scenes = [plan_scene(looks, int(number), seed=self.seed) for number in chosen]
        seen = [_example(scene.id, about_scene(scene, generator)) for scene in scenes]
        read = [
            _example(f"reading-{place}", self.reader.draw(generator))
            for place in range(_READINGS_PER_STEP)
        ]
        batch = collate(
            [*seen, *read], self.renderer, max_length=2048, segmenter_size=1, mask_resolution=1
        )
        return batch, self.patches[[int(image_id) for image_id in batch.image_ids]]


def train_language_model(
    tower: CLIPVisionModel,
    scenes: SceneBank,
    entities: EntityBank,
    *,
    steps: int,
    folder: Path,
    seed: int,
) -> LlavaForConditionalGeneration:
    """Pre-train projector and language model from scratch, or from where a run stopped."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer()
    llava = LlavaForConditionalGeneration(language_model_config(tower.config, tokenizer))
    llava.model.vision_tower.load_state_dict(tower.state_dict())
    lessons = _lessons(llava, tokenizer, scenes, entities, seed)
    whiten_projector(llava.model.multi_modal_projector, lessons.patches)
    speaker = nn.ModuleList(
        [llava.model.multi_modal_projector, llava.model.language_model, llava.lm_head]
    )

    def losses_of_step(step: int) -> StepLosses:
        batch, seen = lessons.draw(np.random.default_rng([seed, 7, step]))
        logits, targets, _ = _next_tokens(llava, batch, seen)
        return {"language": functional.cross_entropy(logits, targets)}

    pretrain(speaker, losses_of_step, steps=steps, lr=1.5e-3, folder=folder, weight_decay=0.0)
    return llava


@torch.no_grad()
def whiten_projector(
    projector: nn.Module, patches: Float[Tensor, "num_scenes num_patches vision_width"]
) -> None:
    """Let the first layer take the patches to unit covariance, turned at random.

    The tower's states vary a thousand times more in some directions than in others, and what one
    wants to know of a patch lies in the small ones: a projector that is drawn as usual sees little
    of it for hundreds of steps.
    """
    states = patches.flatten(0, 1)
    mean = states.mean(0)
    covariance = (states - mean).T @ (states - mean) / len(states)
    variances, directions = torch.linalg.eigh(covariance)
    scales = (variances + _WHITENING_FLOOR * variances.mean()).rsqrt()
    first, second = projector.linear_1, projector.linear_2
    turn = torch.linalg.qr(torch.randn(len(first.weight), len(first.weight)))[0][:, : len(mean)]
    first.weight.copy_(turn @ directions @ torch.diag(scales) @ directions.T)
    first.bias.copy_(-first.weight @ mean)
    nn.init.normal_(second.weight, std=2 * _INIT_RANGE * second.weight.shape[1] ** -0.5)


@torch.inference_mode()
def measure_language_model(
    llava: LlavaForConditionalGeneration,
    scenes: SceneBank,
    entities: EntityBank,
    seed: int,
) -> dict[str, float]:
    """Share of right next tokens of the answers, about held-out pictures and held-out articles."""
    lessons = _lessons(llava, train_tokenizer(), scenes, entities, seed)
    right: dict[bool, list[Tensor]] = {True: [], False: []}
    for step in range(8):
        batch, seen = lessons.draw(np.random.default_rng([seed, 8, step]))
        logits, targets, rows = _next_tokens(llava, batch, seen)
        of_picture = batch.image_rows[rows] >= 0
        for seeing, hits in right.items():
            hits.append((logits.argmax(-1) == targets)[of_picture == seeing].float())
    return {
        "answer_tokens_about_pictures": float(torch.cat(right[True]).mean()),
        "answer_tokens_of_readings": float(torch.cat(right[False]).mean()),
    }


def _lessons(
    llava: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    scenes: SceneBank,
    entities: EntityBank,
    seed: int,
) -> Lessons:
    return Lessons(
        entities=entities,
        patches=_see(llava, scenes),
        reader=Reader(seed),
        renderer=_renderer(llava, tokenizer),
        seed=seed,
    )


def _next_tokens(
    llava: LlavaForConditionalGeneration,
    batch: Batch,
    patches: Float[Tensor, "num_images num_patches vision_width"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Where a token is to be learned: the vocabulary's scores, the token, the row."""
    embeddings = splice_patches(
        llava.get_input_embeddings()(batch.input_ids),
        llava.model.multi_modal_projector(patches),
        is_placeholder=batch.input_ids == llava.config.image_token_id,
        image_index=batch.image_rows,
    )
    states = llava.model.language_model(
        inputs_embeds=embeddings, attention_mask=batch.attention_mask, use_cache=False
    ).last_hidden_state
    targets = batch.labels[:, 1:]
    is_target = targets != IGNORED
    rows = torch.arange(len(targets))[:, None].expand_as(targets)
    return llava.lm_head(states[:, :-1][is_target]), targets[is_target], rows[is_target]


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


def _renderer(
    llava: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
) -> ChatRenderer:
    add_special_tokens(tokenizer)
    ids = find_token_ids(tokenizer, image_token_id=llava.config.image_token_id)
    return ChatRenderer(tokenizer, ids, num_image_tokens=llava.config.image_seq_length)


def _example(id: str, conversation: Conversation) -> Example:
    """An example whose picture is never decoded: its patches are known."""
    if not conversation.has_image:
        return Example(id=id, conversation=conversation)
    return Example(id=id, conversation=conversation, image_id=id, load_image=_not_decoded)


def _not_decoded() -> Image.Image:
    raise AssertionError("pre-training takes patches from the bank, not from pictures")
