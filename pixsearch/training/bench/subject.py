"""The model and the data of the training benchmark: drawn at random, in the 13B's proportions.

Per conversation the 13B run's language model takes 26 GFLOP a token, CLIP 0.16 TFLOP, SAM 5.96
TFLOP an image (`scripts/plan.py`); here all parts are smaller in about the same proportion, which
`proportions` measures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    PreTrainedTokenizerFast,
    SamConfig,
    SamImageProcessor,
    SamMaskDecoderConfig,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from pixsearch.chat import Conversation, Message, Role, Text
from pixsearch.chat_templates import TEMPLATES
from pixsearch.config import BenchTrainingOptions, ChatStyle, ImageFit, ModelOptions, TrainablePart
from pixsearch.datasets.example import Example
from pixsearch.datasets.templates import ANSWERS, QUESTIONS, ask, reply
from pixsearch.model.composing import composite_config
from pixsearch.model.pixsearch import PixSearch
from pixsearch.model.trainable import set_trainable
from pixsearch.tokens import add_special_tokens, find_token_ids

IMAGE_TOKEN = "<image>"
VOCABULARY = 2000
TOWER_SIDE, PATCH = 224, 14  # 256 patches, as PLUM's CLIP
KINDS = ("cup", "box", "lamp", "chair", "table", "bottle", "plant", "clock", "book", "shoe")
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "grey", "brown")
TRAINED = [
    TrainablePart.lora,
    TrainablePart.tokens,
    TrainablePart.grounding,
    TrainablePart.mask_decoder,
]


def build_model(options: BenchTrainingOptions) -> PixSearch:
    """A LLaVA with LoRA and a SAM, of random weights, ready to train."""
    torch.manual_seed(options.seed)
    tokenizer = _tokenizer()
    backbone = _backbone(options, tokenizer)
    add_special_tokens(tokenizer)
    config = composite_config(
        ModelOptions(image_fit=ImageFit.crop, lora_rank=8, lora_dropout=0.0),
        backbone=backbone,
        segmenter=_segmenter(options),
        token_ids=find_token_ids(tokenizer, image_token_id=backbone.image_token_id),
        template=TEMPLATES[ChatStyle.llava_v1],
        vision=CLIPImageProcessor(),
        pixels=SamImageProcessor(),
    )
    model = PixSearch(config, tokenizer=tokenizer)
    with torch.no_grad():
        for rows in model.new_rows.parameters():
            rows.normal_(std=0.02)
    model.grounding.draw(state_size=1.0)
    set_trainable(model, TRAINED)
    return model.train()


def examples(options: BenchTrainingOptions) -> list[Example]:
    """For each image as many conversations as it has classes, each about one of them."""
    return [
        _example(image, place, options)
        for image in range(options.num_images)
        for place in range(options.num_classes)
    ]


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """Draws an image or a mask when called, as a reader decodes a file."""

    seed: int
    height: int
    width: int

    def image(self) -> Image.Image:
        generator = np.random.default_rng(self.seed)
        shape = (self.height, self.width, 3)
        return Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8))

    def masks(self) -> np.ndarray:
        generator = np.random.default_rng(self.seed)
        mask = np.zeros((1, self.height, self.width), dtype=bool)
        top, left = generator.integers(0, (self.height // 2, self.width // 2))
        mask[0, top : top + self.height // 3, left : left + self.width // 3] = True
        return mask


def _example(image: int, place: int, options: BenchTrainingOptions) -> Example:
    size = {"height": options.image_height, "width": options.image_width}
    phrase = f"the {COLOURS[(image + place) % 8]} {KINDS[(3 * image + place) % 10]}"
    key = f"{image}/{place}"
    question = Message(role=Role.USER, parts=(Text(text=ask([phrase], key=key)),))
    answer = Message(role=Role.ASSISTANT, parts=reply([phrase], key=key))
    return Example(
        id=key,
        conversation=Conversation(messages=(question, answer), has_image=True),
        image_id=str(image),
        load_image=_Picture(seed=image, **size).image,
        load_masks=_Picture(seed=1000 * image + place, **size).masks,
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, trained on the words of the benchmark itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "</s>", IMAGE_TOKEN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    words: Sequence[str] = (
        *QUESTIONS,
        *ANSWERS,
        *KINDS,
        *COLOURS,
        TEMPLATES[ChatStyle.llava_v1].system,
    )
    tokenizer.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")


def _backbone(options: BenchTrainingOptions, tokenizer: PreTrainedTokenizerFast) -> LlavaConfig:
    return LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=options.tower_width,
            intermediate_size=4 * options.tower_width,
            num_hidden_layers=options.tower_layers,
            num_attention_heads=options.tower_width // 32,
            image_size=TOWER_SIDE,
            patch_size=PATCH,
        ),
        text_config=LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=options.width,
            intermediate_size=options.width * 27 // 10,
            num_hidden_layers=options.layers,
            num_attention_heads=options.width // 64,
            num_key_value_heads=options.width // 64,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_seq_length=(TOWER_SIDE // PATCH) ** 2,
    )


def _segmenter(options: BenchTrainingOptions) -> SamConfig:
    channels = 64
    side = options.segmenter_side
    return SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=options.segmenter_width,
            output_channels=channels,
            num_hidden_layers=options.segmenter_layers,
            num_attention_heads=options.segmenter_width // 64,
            image_size=side,
            patch_size=16,
            window_size=14,
            global_attn_indexes=[options.segmenter_layers - 1],
            num_pos_feats=channels // 2,
            mlp_dim=4 * options.segmenter_width,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=channels, image_size=side, patch_size=16
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=channels,
            mlp_dim=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            iou_head_hidden_dim=channels,
        ),
    )
