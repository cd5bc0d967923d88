"""The model and the data of the training benchmark: drawn at random, in the 13B's proportions.

Per conversation the 13B run's language model takes 26 GFLOP a token, CLIP 0.16 TFLOP, SAM 5.96
TFLOP an image (`scripts/plan.py`); here all parts are smaller in about the same proportion, which
`proportions` measures.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pixsearch.chat import Conversation, Message, Role, Text
from pixsearch.chat_templates import TEMPLATES
from pixsearch.config import BenchTrainingOptions, ChatStyle, ImageFit, ModelOptions, TrainablePart
from pixsearch.datasets.example import Example
from pixsearch.datasets.templates import ANSWERS, QUESTIONS, ask, reply
from pixsearch.model.drawn import DrawnSizes, draw_model
from pixsearch.model.pixsearch import PixSearch
from pixsearch.model.trainable import set_trainable

VOCABULARY = 2000
TOWER_SIDE = 224  # 256 patches, as PLUM's CLIP
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
    sizes = DrawnSizes(
        vocabulary=VOCABULARY,
        width=options.width,
        layers=options.layers,
        tower_width=options.tower_width,
        tower_layers=options.tower_layers,
        tower_side=TOWER_SIDE,
        segmenter_width=options.segmenter_width,
        segmenter_layers=options.segmenter_layers,
        segmenter_side=options.segmenter_side,
    )
    composed = ModelOptions(image_fit=ImageFit.crop, lora_rank=8, lora_dropout=0.0)
    words = (*QUESTIONS, *ANSWERS, *KINDS, *COLOURS, TEMPLATES[ChatStyle.llava_v1].system)
    model = draw_model(sizes, composed, words=words, seed=options.seed)
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
