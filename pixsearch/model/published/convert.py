"""From a published LISA or GLaMM to a PixSearch that computes the same."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
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
from pixsearch.config import ChatStyle, ConvertOptions, ImageFit, Projector, SegState
from pixsearch.model.config import PixSearchConfig
from pixsearch.model.pixsearch import PixSearch
from pixsearch.model.published.names import Renamed, rename
from pixsearch.model.published.read import Tensors, merge_lora, plain_names, read_tensors
from pixsearch.model.published.sizes import check_sizes, language_sizes, segmenter_config
from pixsearch.tokens import SEG, add_special_tokens, find_token_ids

logger = logging.getLogger(__name__)

PUBLISHED_SEG = "[SEG]"
IMAGE = "<image>"  # transformers' placeholder; LISA has an id of -200 instead
TOWER = "backbone.model.vision_tower."
BIO_TAGGER = "bio_encoder."
GLAMM_SEGMENTER = "model.grounding_encoder."


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What came of a conversion.

    Attributes:
        dropped: reason -> the published names that it holds for.
    """

    model: PixSearch
    dropped: dict[str, list[str]]


def convert(options: ConvertOptions) -> Conversion:
    """Read a published checkpoint and build the model that computes the same.

    1. Read the shards, merge the adapters, bring the names under ours.
    2. Infer the sizes, take what shapes do not tell from the checkpoint's config.json.
    3. Add CLIP, which merged files lack, and the rows of the tokens that are ours.
    4. Load strictly: each weight of the model once, each tensor used or dropped for a reason.

    Raises:
        ValueError: something is missing, left over or misshapen; one message that lists it all.
    """
    source = Path(options.source)
    _check_folder(source, options.clip)
    published = plain_names(read_tensors(source))
    if any(name.startswith(BIO_TAGGER) for name in published):
        raise ValueError(
            f"source={source}: a PLUM, which grounds by tagging spans; PixSearch reads LISA and "
            "GLaMM as yet"
        )
    renamed = rename(merge_lora(published, alpha=options.lora_alpha))
    tokenizer = published_tokenizer(source, options.max_length)
    tower = CLIPVisionModel.from_pretrained(options.clip)
    is_glamm = any(name.startswith(GLAMM_SEGMENTER) for name in published)
    chat = ChatStyle.glamm if is_glamm else ChatStyle.lisa
    config = _config(renamed.tensors, source, tower.config, tokenizer, chat, options)
    weights = _complete(renamed, tower, config)
    model = PixSearch(config, tokenizer=tokenizer)
    _load_strictly(model, weights, source)
    return Conversion(model=model.eval(), dropped=renamed.dropped)


def _check_folder(source: Path, clip: str) -> None:
    """See that configuration and tokenizer lie beside the weights; tell of another CLIP.

    Raises:
        ValueError: they do not.
    """
    told = source / "config.json"
    if not told.exists() or not any(source.glob("tokenizer*")):
        raise ValueError(
            f"source={source}: config.json and the tokenizer's files must lie beside the weights; "
            "what zero_to_fp32.py writes lacks them, copy those of the base model there"
        )
    names = json.loads(told.read_text())
    trained = names.get("mm_vision_tower") or names.get("vision_tower")
    if trained and Path(trained).name != Path(clip).name:
        logger.warning("%s was trained with %s; clip=%s", source, trained, clip)


def published_tokenizer(source: Path, max_length: int) -> PreTrainedTokenizerFast:
    """The checkpoint's own, with the placeholder and our tokens.

    Where there is sentencepiece's file alone it is LLaMA's, which begins a text with <s>; their
    config.json calls itself a LLaVA, by which `AutoTokenizer` would take another reader.
    """
    if (source / "tokenizer.json").exists():
        tokenizer = AutoTokenizer.from_pretrained(source, model_max_length=max_length)
    else:
        tokenizer = LlamaTokenizer.from_pretrained(
            source, model_max_length=max_length, add_bos_token=True
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token  # as LISA trains
    tokenizer.add_tokens([IMAGE], special_tokens=True)
    add_special_tokens(tokenizer, {SEG: PUBLISHED_SEG})
    return tokenizer


def _config(
    tensors: Tensors,
    source: Path,
    tower: CLIPVisionConfig,
    tokenizer: PreTrainedTokenizerFast,
    chat: ChatStyle,
    options: ConvertOptions,
) -> PixSearchConfig:
    told: dict[str, Any] = json.loads((source / "config.json").read_text())
    sizes = language_sizes(tensors)
    check_sizes(sizes, told, str(source))
    image = tokenizer.convert_tokens_to_ids(IMAGE)
    kept = ("num_attention_heads", "num_key_value_heads", "rms_norm_eps", "rope_theta")
    text = LlamaConfig(
        **sizes | {"vocab_size": image + 1},
        **{name: told[name] for name in kept if name in told},
        max_position_embeddings=told.get("max_position_embeddings", 4096),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    is_linear = "backbone.model.multi_modal_projector.weight" in tensors
    ids = find_token_ids(tokenizer, image_token_id=image, mapping={SEG: PUBLISHED_SEG})
    return PixSearchConfig(
        backbone=LlavaConfig(
            vision_config=tower,
            text_config=text,
            image_token_index=image,
            vision_feature_layer=told.get("mm_vision_select_layer", -2),
            vision_feature_select_strategy="default",
        ),
        segmenter=segmenter_config(tensors, decoder_heads=options.decoder_heads),
        seg_state=SegState.predicting.value,
        image_fit=ImageFit.crop.value,
        projector=(Projector.linear if is_linear else Projector.own).value,
        token_ids=asdict(ids),
        template=asdict(TEMPLATES[chat]),
        vision_mean=OPENAI_CLIP_MEAN,
        vision_std=OPENAI_CLIP_STD,
        segmenter_mean=IMAGENET_DEFAULT_MEAN,
        segmenter_std=IMAGENET_DEFAULT_STD,
        attn_implementation={},
    )


def _complete(renamed: Renamed, tower: CLIPVisionModel, config: PixSearchConfig) -> Tensors:
    """The checkpoint's tensors with all that it lacks: CLIP, new rows, what SAM holds twice."""
    tensors = dict(renamed.tensors)
    tensors |= {f"{TOWER}{name}": value for name, value in tower.state_dict().items()}
    matrix = tensors["segmenter.shared_image_embedding.positional_embedding"]
    tensors["segmenter.prompt_encoder.shared_embedding.positional_embedding"] = matrix
    rows = config.backbone.text_config.vocab_size
    for name, new in (
        ("backbone.model.language_model.embed_tokens.weight", "new_rows.embedding"),
        ("backbone.lm_head.weight", "new_rows.head"),
    ):
        published = tensors[name]
        tensors[new] = _new_rows(published, config)
        tensors[name] = torch.cat([published, published.new_zeros(rows, published.shape[1])])[:rows]
    return tensors


def _new_rows(published: Tensor, config: PixSearchConfig) -> Tensor:
    """[SEG]'s row, and for each other token of ours the mean of all: no word is preferred."""
    rows = published.float().mean(dim=0).repeat(len(config.ids.own), 1).to(published.dtype)
    rows[config.ids.own.index(config.ids.seg)] = published[config.ids.seg]
    return rows


def _load_strictly(model: PixSearch, weights: Tensors, source: Path) -> None:
    """Load, or say all that does not fit.

    Raises:
        ValueError: tensors are missing, left over or misshapen; lists each, with both shapes.
    """
    ours = model.state_dict()
    missing = [f"{name} is missing" for name in ours.keys() - weights.keys()]
    extra = [f"{name} is left over" for name in weights.keys() - ours.keys()]
    misshapen = [
        f"{name} is {tuple(weights[name].shape)}, here {tuple(ours[name].shape)}"
        for name in ours.keys() & weights.keys()
        if weights[name].shape != ours[name].shape
    ]
    wrong = sorted(missing) + sorted(extra) + sorted(misshapen)
    if wrong:
        raise ValueError(f"source={source}: {len(wrong)} tensors do not fit: {'; '.join(wrong)}")
    model.load_state_dict(weights)
