"""Pre-trains the language model: a stock, tiny LLaVA that talks about what the tower sees.

Real runs start from a LLaVA that can describe a picture and read a text. So does the miniature; it
knows nothing of searching or of masks.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
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

from pixsearch.datasets.batch import IGNORED, Batch
from pixsearch.miniature.foundation.alignment import align_projector, name_cells
from pixsearch.miniature.foundation.bank import EntityBank, SceneBank
from pixsearch.miniature.foundation.induction import draw_with_induction
from pixsearch.miniature.foundation.lessons import open_lessons
from pixsearch.miniature.foundation.loop import StepLosses, pretrain
from pixsearch.miniature.foundation.tokenizer import IMAGE, train_tokenizer
from pixsearch.miniature.foundation.tower import bank_targets
from pixsearch.model.backbone import splice_patches
from pixsearch.precision import fast_products

HIDDEN = 192
NUM_LAYERS = 5
_INIT_RANGE = 0.03  # transformers' 0.02 suits widths of a thousand and more


def language_model_config(
    vision: CLIPVisionConfig, tokenizer: PreTrainedTokenizerFast
) -> LlavaConfig:
    """Five layers of width 192 over the tower's 64 patches; head and embeddings are one."""
    return LlavaConfig(
        # without the path that the tower was read from
        vision_config=vision.to_dict() | {"_name_or_path": ""},
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            intermediate_size=512,
            num_hidden_layers=NUM_LAYERS,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=2048,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            initializer_range=_INIT_RANGE,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            tie_word_embeddings=True,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(vision.image_size // vision.patch_size) ** 2,
        vision_feature_layer=-1,
        tie_word_embeddings=True,
        initializer_range=_INIT_RANGE,
    )


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
    llava.tie_weights()
    llava.model.vision_tower.load_state_dict(tower.state_dict())
    draw_with_induction(llava.model.language_model)
    name_cells(llava.get_input_embeddings(), tokenizer)
    lessons = open_lessons(llava, tokenizer, scenes, entities, seed)
    align_projector(
        llava.model.multi_modal_projector,
        lessons.patches,
        bank_targets(scenes),
        llava.get_input_embeddings(),
        tokenizer,
    )
    speaker = nn.ModuleList([llava.model.multi_modal_projector, llava.model.language_model])

    def losses_of_step(step: int) -> StepLosses:
        drawn = lessons.draw(np.random.default_rng([seed, 7, step]))
        parts = [next_tokens(llava, batch, seen)[:2] for batch, seen in drawn]
        logits, targets = (torch.cat(part) for part in zip(*parts, strict=True))
        return {"language": functional.cross_entropy(logits, targets)}

    pretrain(speaker, losses_of_step, steps=steps, lr=1.2e-3, folder=folder, weight_decay=0.0)
    return llava


def next_tokens(
    llava: LlavaForConditionalGeneration,
    batch: Batch,
    patches: Float[Tensor, "num_images num_patches vision_width"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Where a token is to be learned: the vocabulary's scores, the token, the row."""
    embeddings = splice_patches(
        llava.get_input_embeddings()(batch.input_ids),
        list(llava.model.multi_modal_projector(patches)[:, None]),
        is_placeholder=batch.input_ids == llava.config.image_token_id,
        image_index=batch.image_rows,
    ).embeddings
    with fast_products(embeddings.device):
        states = llava.model.language_model(  # padded on the right: needs no mask
            inputs_embeds=embeddings, use_cache=False
        ).last_hidden_state.float()
    targets = batch.labels[:, 1:]
    is_target = targets != IGNORED
    rows = torch.arange(len(targets))[:, None].expand_as(targets)
    return llava.lm_head(states[:, :-1][is_target]), targets[is_target], rows[is_target]
