"""LISA and GLaMM: a LLaVA with SAM. Facts: LISA, GLaMM, transformers' LLaVA."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import (
    AutoTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaTokenizer,
    LlavaConfig,
    PreTrainedTokenizerFast,
)
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
)

from pixsearch.chat_templates import TEMPLATES
from pixsearch.config import ChatStyle, ConvertOptions, GroundBy, ImageFit, Projector, SegState
from pixsearch.model.config import PixSearchConfig
from pixsearch.model.published.family import (
    PUBLISHED_SEG,
    Converted,
    Published,
    Source,
    new_rows,
)
from pixsearch.model.published.names import under
from pixsearch.model.published.read import Tensors
from pixsearch.model.published.sam import SAM_RULES, sam_config
from pixsearch.model.published.sizes import check_sizes, language_sizes
from pixsearch.tokens import SEG, add_special_tokens, find_token_ids

logger = logging.getLogger(__name__)

IMAGE = "<image>"  # transformers' placeholder; LISA has an id of -200 instead
MAX_LENGTH = 512  # to which they train
TOWER = "backbone.model.vision_tower."
TOKENS = {SEG: PUBLISHED_SEG}
LISA_SEGMENTER, GLAMM_SEGMENTER = "model.visual_model.", "model.grounding_encoder."


class Lisa(Published):
    """LISA, and GLaMM, which is one with another prompt.

    Attributes:
        tokens: ours -> those of the checkpoint that mean the same.
    """

    tokens: ClassVar[Mapping[str, str]] = TOKENS
    name = "LISA or GLaMM"
    rules = (
        *under(SAM_RULES, theirs=r"model\.(?:visual_model|grounding_encoder)\.", ours="segmenter."),
        (r"lm_head\.weight", "backbone.lm_head.weight"),
        (r"model\.(embed_tokens|norm)\.weight", r"backbone.model.language_model.\1.weight"),
        (r"model\.(layers\.\d+\..+)", r"backbone.model.language_model.\1"),
        (r"model\.mm_projector\.(weight|bias)", r"backbone.model.multi_modal_projector.\1"),
        (r"model\.mm_projector\.0\.(\w+)", r"backbone.model.multi_modal_projector.linear_1.\1"),
        (r"model\.mm_projector\.2\.(\w+)", r"backbone.model.multi_modal_projector.linear_2.\1"),
        (r"model\.text_hidden_fcs\.0\.([02])\.(\w+)", r"grounding.projection.\1.\2"),
    )
    dropped = {  # noqa: RUF012 (read only)
        r"model\.vision_tower\..+": "CLIP comes from its own folder",
        r".*\.rotary_emb\.inv_freq": "a constant that old versions of transformers saved",
        r"model\.region_encoder\..+": "GLaMM's encoder of regions in the prompt; we have none",
    }

    def owns(self, names: Collection[str]) -> bool:
        return any(name.startswith((LISA_SEGMENTER, GLAMM_SEGMENTER)) for name in names)

    def check(self, source: Source, options: ConvertOptions) -> None:
        if options.clip is None:
            raise ValueError(
                f"source={source.folder}: a {self.name} is published without its CLIP; set clip to "
                "the folder or hub id of the one that it was trained with"
            )
        trained = source.told.get("mm_vision_tower") or source.told.get("vision_tower")
        if trained and Path(trained).name != Path(options.clip).name:
            logger.warning("%s was trained with %s; clip=%s", source.folder, trained, options.clip)

    def tokenizer(self, source: Source, options: ConvertOptions) -> PreTrainedTokenizerFast:
        return published_tokenizer(source.folder, options.max_length or MAX_LENGTH, self.tokens)

    def convert(
        self,
        tensors: Tensors,
        source: Source,
        tokenizer: PreTrainedTokenizerFast,
        options: ConvertOptions,
    ) -> Converted:
        tower = CLIPVisionModel.from_pretrained(options.clip)
        config = self._config(tensors, source, tower.config, tokenizer, options)
        return Converted(config=config, weights=_complete(tensors, tower, config))

    def grounding(self, tensors: Tensors, options: ConvertOptions) -> dict[str, Any]:
        """What the model's configuration says of how phrases are grounded."""
        return {"ground_by": GroundBy.seg.value, "seg_state": SegState.predicting.value}

    def _config(
        self,
        tensors: Tensors,
        source: Source,
        tower: CLIPVisionConfig,
        tokenizer: PreTrainedTokenizerFast,
        options: ConvertOptions,
    ) -> PixSearchConfig:
        image = tokenizer.convert_tokens_to_ids(IMAGE)
        is_glamm = any(name.startswith(GLAMM_SEGMENTER) for name in source.names)
        is_linear = "backbone.model.multi_modal_projector.weight" in tensors
        ids = find_token_ids(tokenizer, image_token_id=image, mapping=self.tokens)
        return PixSearchConfig(
            backbone=LlavaConfig(
                vision_config=tower,
                text_config=_language_config(tensors, source, tokenizer),
                image_token_index=image,
                vision_feature_layer=source.told.get("mm_vision_select_layer", -2),
                vision_feature_select_strategy="default",
            ),
            segmenter=sam_config(tensors, decoder_heads=options.decoder_heads),
            image_fit=ImageFit.crop.value,
            projector=(Projector.linear if is_linear else Projector.own).value,
            token_ids=asdict(ids),
            template=asdict(TEMPLATES[ChatStyle.glamm if is_glamm else ChatStyle.lisa]),
            vision_mean=OPENAI_CLIP_MEAN,
            vision_std=OPENAI_CLIP_STD,
            segmenter_mean=IMAGENET_DEFAULT_MEAN,
            segmenter_std=IMAGENET_DEFAULT_STD,
            attn_implementation={},
            **self.grounding(tensors, options),
        )


def published_tokenizer(
    folder: Path, max_length: int, tokens: Mapping[str, str] = TOKENS
) -> PreTrainedTokenizerFast:
    """The checkpoint's own, with the placeholder and our tokens.

    Where there is sentencepiece's file alone it is LLaMA's, which begins a text with <s>; their
    config.json calls itself a LLaVA, by which `AutoTokenizer` would take another reader.

    Args:
        tokens: ours -> those of the checkpoint that mean the same.
    """
    if (folder / "tokenizer.json").exists():
        tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=max_length)
    else:
        tokenizer = LlamaTokenizer.from_pretrained(
            folder, model_max_length=max_length, add_bos_token=True
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token  # as LISA trains
    tokenizer.add_tokens([IMAGE], special_tokens=True)
    add_special_tokens(tokenizer, tokens)
    return tokenizer


def _language_config(
    tensors: Tensors, source: Source, tokenizer: PreTrainedTokenizerFast
) -> LlamaConfig:
    sizes = language_sizes(tensors)
    check_sizes(sizes, source.told, str(source.folder))
    kept = ("num_attention_heads", "num_key_value_heads", "rms_norm_eps", "rope_theta")
    return LlamaConfig(
        **sizes | {"vocab_size": tokenizer.convert_tokens_to_ids(IMAGE) + 1},
        **{name: source.told[name] for name in kept if name in source.told},
        max_position_embeddings=source.told.get("max_position_embeddings", 4096),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def _complete(tensors: Tensors, tower: CLIPVisionModel, config: PixSearchConfig) -> Tensors:
    """The checkpoint's tensors with all that it lacks: CLIP, new rows, what SAM holds twice."""
    complete = dict(tensors)
    complete |= {f"{TOWER}{name}": value for name, value in tower.state_dict().items()}
    matrix = complete["segmenter.shared_image_embedding.positional_embedding"]
    complete["segmenter.prompt_encoder.shared_embedding.positional_embedding"] = matrix
    rows = config.backbone.text_config.vocab_size
    for name, new in (
        ("backbone.model.language_model.embed_tokens.weight", "new_rows.embedding"),
        ("backbone.lm_head.weight", "new_rows.head"),
    ):
        published = complete[name]
        complete[new] = new_rows(published, config)
        padded = torch.cat([published, published.new_zeros(rows, published.shape[1])])
        complete[name] = padded[:rows]
    return complete
