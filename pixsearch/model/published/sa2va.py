"""Sa2VA: an InternVL with SAM 2. Facts: Sa2VA, InternVL 2.5, transformers' InternVL."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from transformers import (
    GotOcr2ImageProcessorPil,
    InternVLConfig,
    InternVLVisionConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Tokenizer,
)
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from pixsearch.chat_templates import TEMPLATES, ChatTemplate
from pixsearch.config import ChatStyle, ConvertOptions, Resampling, SegState
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
from pixsearch.model.published.sam import DECODER_RULES, PROMPT_RULES
from pixsearch.model.published.sam2 import (
    HIERA_LARGE,
    MEMORY,
    SAM2_RULES,
    complete_sam2,
    sam2_config,
)
from pixsearch.model.published.sizes import check_sizes, count_layers, language_sizes, required
from pixsearch.tokens import SEG, add_special_tokens, find_token_ids

IMAGE = "<IMG_CONTEXT>"  # InternVL's placeholder
PREFIX = "grounding_encoder.sam2_model."
LANGUAGE_MODEL = "Qwen2ForCausalLM"  # transformers' name of Qwen2.5 as well
SEGMENTER = HIERA_LARGE  # its code has no other
MAX_TILES = 12  # its code's, whatever config.json says
PADDING_POINTS = 2  # of a prompt without points: one stands for it, SAM 2 itself adds another
STYLES = {  # `template` in config.json
    "qwen_chat": ChatStyle.internvl,
    "phi3_chat": ChatStyle.sa2va_phi3,
}
TOWER = "backbone.model.vision_tower."
EMBEDDING, HEAD = "backbone.model.language_model.embed_tokens.weight", "backbone.lm_head.weight"


class Sa2va(Published):
    """Those whose language model is Qwen2.5."""

    name = "Sa2VA"
    rules = (
        *under(SAM2_RULES, theirs=r"grounding_encoder\.sam2_model\.", ours="segmenter."),
        *under(
            (*PROMPT_RULES, *DECODER_RULES),
            theirs=r"grounding_encoder\.sam2_model\.sam_",
            ours="segmenter.",
        ),
        (r"text_hidden_fcs\.([02])\.(\w+)", r"grounding.projection.\1.\2"),
        (r"language_model\.lm_head\.weight", HEAD),
        (r"language_model\.model\.(.+)", r"backbone.model.language_model.\1"),
        (r"mlp1\.0\.(\w+)", r"backbone.model.multi_modal_projector.layer_norm.\1"),
        (r"mlp1\.1\.(\w+)", r"backbone.model.multi_modal_projector.linear_1.\1"),
        (r"mlp1\.3\.(\w+)", r"backbone.model.multi_modal_projector.linear_2.\1"),
        (r"vision_model\.embeddings\.class_embedding", f"{TOWER}embeddings.cls_token"),
        (r"vision_model\.embeddings\.position_embedding", f"{TOWER}embeddings.position_embeddings"),
        (
            r"vision_model\.embeddings\.patch_embedding\.(\w+)",
            rf"{TOWER}embeddings.patch_embeddings.projection.\1",
        ),
        *under(
            (
                (r"(\d+)\.ls([12])", r"\1.lambda_\2"),
                (r"(\d+)\.norm1\.(\w+)", r"\1.layernorm_before.\2"),
                (r"(\d+)\.norm2\.(\w+)", r"\1.layernorm_after.\2"),
                (r"(\d+)\.attn\.proj\.(\w+)", r"\1.attention.projection_layer.\2"),
                (r"(\d+)\.attn\.(qkv|q_norm|k_norm)\.(\w+)", r"\1.attention.\2.\3"),
                (r"(\d+)\.mlp\.(fc[12])\.(\w+)", r"\1.mlp.\2.\3"),
            ),
            theirs=r"vision_model\.encoder\.layers\.",
            ours=f"{TOWER}encoder.layer.",
        ),
    )
    dropped = {  # noqa: RUF012 (read only)
        rf"grounding_encoder\.sam2_model\.({MEMORY})": (
            "SAM 2's memory of a video's frames; PixSearch looks at single images"
        ),
        r".*\.rotary_emb\.inv_freq": "a constant that old versions of transformers saved",
    }

    def owns(self, names: Collection[str]) -> bool:
        return any(name.startswith(PREFIX) for name in names)

    def check(self, source: Source, options: ConvertOptions) -> None:
        told = source.told
        architecture, *_ = told.get("llm_config", {}).get("architectures") or ["another model"]
        if architecture != LANGUAGE_MODEL:
            raise ValueError(
                f"source={source.folder}: a Sa2VA on {architecture}; PixSearch reads those on "
                f"{LANGUAGE_MODEL}, such as Sa2VA-4B"
            )
        if options.clip is not None:
            raise ValueError(
                f"clip={options.clip}: a Sa2VA brings its own image encoder; leave clip out"
            )
        if told.get("ps_version") != "v2":
            raise ValueError(
                f"source={source.folder}: config.json has ps_version={told.get('ps_version')}; "
                "PixSearch shuffles pixels as v2 does, choose another checkpoint"
            )
        _style(source)

    def tokenizer(self, source: Source, options: ConvertOptions) -> PreTrainedTokenizerFast:
        length = {} if options.max_length is None else {"model_max_length": options.max_length}
        has_own = (source.folder / "tokenizer.json").exists()
        # not `AutoTokenizer`, which asks to run the code that lies beside the weights
        reader = PreTrainedTokenizerFast if has_own else Qwen2Tokenizer
        tokenizer = reader.from_pretrained(source.folder, **length)
        add_special_tokens(tokenizer, {SEG: PUBLISHED_SEG})
        return tokenizer

    def convert(
        self,
        tensors: Tensors,
        source: Source,
        tokenizer: PreTrainedTokenizerFast,
        options: ConvertOptions,
    ) -> Converted:
        tensors = complete_sam2(_split_attention(tensors))
        _check_tokenizer(tokenizer, len(required(tensors, EMBEDDING)), source)
        config = _config(tensors, source, tokenizer, options)
        return Converted(config=config, weights=_complete(tensors, config))


def _style(source: Source) -> ChatStyle:
    """The words around the turns that the checkpoint was trained with.

    Raises:
        ValueError: config.json names a template that PixSearch does not have.
    """
    name = str(source.told.get("template")).replace("-", "_")
    if name not in STYLES:
        raise ValueError(
            f"source={source.folder}: config.json has template={name}; PixSearch knows "
            f"{', '.join(STYLES)}"
        )
    return STYLES[name]


def _check_tokenizer(tokenizer: PreTrainedTokenizerFast, rows: int, source: Source) -> None:
    """See that the tokens that we need have rows.

    Raises:
        ValueError: one has none, or is no token.
    """
    for token in (IMAGE, PUBLISHED_SEG):
        found = tokenizer.get_vocab().get(token)
        if found is None or found >= rows:
            raise ValueError(
                f"source={source.folder}: {token} has the id {found} in its tokenizer, its "
                f"embedding {rows} rows; the two are of different models"
            )


def _split_attention(tensors: Tensors) -> Tensors:
    """InternViT's queries, keys and values, which it holds in one matrix, each in its own."""
    split: Tensors = {}
    for name, tensor in tensors.items():
        if name.startswith(TOWER) and ".attention.qkv." in name:
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                split[name.replace(".qkv.", f".{part}_proj.")] = piece
        else:
            split[name] = tensor
    return split


def _config(
    tensors: Tensors,
    source: Source,
    tokenizer: PreTrainedTokenizerFast,
    options: ConvertOptions,
) -> PixSearchConfig:
    image = tokenizer.convert_tokens_to_ids(IMAGE)
    ids = find_token_ids(tokenizer, image_token_id=image, mapping={SEG: PUBLISHED_SEG})
    template: ChatTemplate = TEMPLATES[_style(source)]
    backbone = _backbone_config(tensors, source, image)
    return PixSearchConfig(
        backbone=backbone,
        segmenter=sam2_config(tensors, SEGMENTER, decoder_heads=options.decoder_heads),
        seg_state=SegState.token.value,
        padding_points=PADDING_POINTS,
        picks_best_mask=True,
        token_ids=asdict(ids),
        template=asdict(template),
        image_processor=_image_processor(backbone),
        vision_mean=IMAGENET_DEFAULT_MEAN,
        vision_std=IMAGENET_DEFAULT_STD,
        segmenter_mean=IMAGENET_DEFAULT_MEAN,
        segmenter_std=IMAGENET_DEFAULT_STD,
        segmenter_resampling=Resampling.bicubic.value,
        attn_implementation={},
    )


def _backbone_config(tensors: Tensors, source: Source, image: int) -> InternVLConfig:
    told = source.told
    is_tied = HEAD not in tensors and bool(told["llm_config"].get("tie_word_embeddings"))
    return InternVLConfig(
        vision_config=_vision_config(tensors, source),
        text_config=_language_config(tensors, source, is_tied=is_tied),
        image_token_id=image,
        downsample_ratio=told.get("downsample_ratio", 0.5),
        vision_feature_layer=told.get("select_layer", -1),
        tie_word_embeddings=is_tied,
    )


def _language_config(tensors: Tensors, source: Source, *, is_tied: bool) -> Qwen2Config:
    told: dict[str, Any] = source.told["llm_config"]
    sizes = language_sizes(tensors)
    check_sizes(sizes, told, str(source.folder))
    kept = (
        "num_attention_heads",
        "num_key_value_heads",
        "rms_norm_eps",
        "rope_theta",
        "rope_scaling",
        "max_position_embeddings",
        "bos_token_id",
        "eos_token_id",
    )
    found = {name: told[name] for name in kept if told.get(name) is not None}
    return Qwen2Config(**sizes, **found, tie_word_embeddings=is_tied)


def _vision_config(tensors: Tensors, source: Source) -> InternVLVisionConfig:
    told: dict[str, Any] = source.told["vision_config"]
    patches = required(tensors, f"{TOWER}embeddings.patch_embeddings.projection.weight")
    first = f"{TOWER}encoder.layer.0."
    sizes = {
        "hidden_size": len(patches),
        "patch_size": patches.shape[-1],
        "intermediate_size": len(required(tensors, f"{first}mlp.fc1.weight")),
        "num_hidden_layers": count_layers(tensors, f"{TOWER}encoder.layer."),
    }
    check_sizes(sizes, told, str(source.folder))
    kept = ("num_attention_heads", "norm_type", "layer_norm_eps", "hidden_act")
    return InternVLVisionConfig(
        **sizes,
        **{name: told[name] for name in kept if name in told},
        image_size=source.told.get("force_image_size") or told["image_size"],
        attention_bias=f"{first}attention.q_proj.bias" in tensors,
        use_qk_norm=f"{first}attention.q_norm.weight" in tensors,
    )


def _image_processor(backbone: InternVLConfig) -> dict[str, Any]:
    """Tiles and a thumbnail, resized by Pillow as Sa2VA does it."""
    height, width = backbone.vision_config.image_size
    processor = GotOcr2ImageProcessorPil(
        size={"height": height, "width": width},
        crop_to_patches=True,
        max_patches=MAX_TILES,
        image_mean=list(IMAGENET_DEFAULT_MEAN),
        image_std=list(IMAGENET_DEFAULT_STD),
    )
    # `to_dict` names the class without its backend, and torchvision's rounds otherwise
    return processor.to_dict() | {"image_processor_type": type(processor).__name__}


def _complete(tensors: Tensors, config: PixSearchConfig) -> Tensors:
    """The tensors with new rows for our tokens."""
    complete = dict(tensors)
    complete["new_rows.embedding"] = new_rows(tensors[EMBEDDING], config)
    if config.backbone.tie_word_embeddings:
        complete[HEAD] = tensors[EMBEDDING]
    elif HEAD in tensors:
        complete["new_rows.head"] = new_rows(tensors[HEAD], config)
    return complete
