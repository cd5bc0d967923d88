"""Counts of arithmetic against torch's own counter, on tiny real models."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, PreTrainedModel, Sam2Model, SamModel

from pixsearch.config import GroundBy, TrainablePart, TrainableTokens
from pixsearch.model import PixSearch
from pixsearch.model.backbone import Embedded
from pixsearch.model.segmenters import segmenter_kind
from pixsearch.model.trainable import set_trainable
from pixsearch.training.planning.encoder_flops import segmenter_flops, tower_flops
from pixsearch.training.planning.flops import decoder_flops, language_flops
from pixsearch.training.planning.grounding_flops import feedback_flops, tagger_flops
from tests.families import ALL_FAMILIES, family_model, sam3_model, tiny_sam2_config
from tests.model.examples import picture
from tests.tiny import HIDDEN, tiny_model, tiny_segmenter_config

SIZE = (64, 96)  # height and width that fill tiles and windows
FEW_PERCENT = 0.04
ARCHITECTURES = Path(__file__).parents[3] / "configs" / "architecture"


def counted(run: Callable[[], object]) -> int:
    """By torch; with the plain attention kernel, the only one on a CPU that it knows."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ALL_FAMILIES)
def test_towers(name: str) -> None:
    model = family_model(name)
    image = picture(1, height=SIZE[0], width=SIZE[1])
    with torch.no_grad():
        real = counted(lambda: model.family.encode(model.backbone, [image]))
    assert tower_flops(model, SIZE) == pytest.approx(real, rel=FEW_PERCENT)


def segmenter(kind: str) -> PreTrainedModel:
    return SamModel(tiny_segmenter_config()) if kind == "sam" else Sam2Model(tiny_sam2_config())


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_segmenters(name: str) -> None:
    model = segmenter(name)
    kind = segmenter_kind(model.config)
    pixel_values = torch.zeros(1, 3, *2 * [kind.size(model.config)])
    with torch.no_grad():
        real = counted(lambda: kind.encode(model, pixel_values))
    assert segmenter_flops(model) == pytest.approx(real, rel=FEW_PERCENT)


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_mask_decoder(name: str) -> None:
    model = segmenter(name)
    kind = segmenter_kind(model.config)
    masks = 3
    prompts = torch.zeros(masks, HIDDEN, requires_grad=True)
    features = kind.nothing(model).index([0] * masks)
    forward = counted(lambda: kind.decode(model, prompts, features))
    both = counted(lambda: kind.decode(model, prompts, features).sum().backward())
    planned = decoder_flops(model, masks=masks)
    assert planned.forward == pytest.approx(forward, rel=FEW_PERCENT)
    assert planned.total == pytest.approx(both, rel=FEW_PERCENT)


MASKS = 4
SPAN = {"ground_by": GroundBy.span, "tagger_heads": 2, "tagger_width": 48}


def test_tagger() -> None:
    model = tiny_model(**SPAN)
    length = 96
    states = torch.zeros(1, length, HIDDEN, requires_grad=True)

    def run() -> torch.Tensor:
        return model.grounding.tagger(states * 1.0, states)

    planned = tagger_flops(model, tokens=length)
    assert planned.forward == pytest.approx(counted(run), rel=FEW_PERCENT)
    assert planned.total == pytest.approx(counted(lambda: run().sum().backward()), rel=FEW_PERCENT)
    assert tagger_flops(tiny_model(), tokens=length).total == 0


@pytest.mark.parametrize("parts", [[], [TrainablePart.grounding, TrainablePart.prompt_encoder]])
def test_mask_feedback(parts: list[TrainablePart]) -> None:
    """Against the same masks without it. Frozen or not, gradients go back through the chain."""
    model, (forward, both) = masks_in_turn(parts, feedback=True)
    without, (of_decoder, both_of_decoder) = masks_in_turn(parts, feedback=False)
    planned = feedback_flops(model, masks=MASKS)
    assert planned.forward == pytest.approx(forward - of_decoder, rel=FEW_PERCENT)
    assert planned.total == pytest.approx(both - both_of_decoder, rel=FEW_PERCENT)
    assert feedback_flops(without, masks=MASKS).total == 0


def masks_in_turn(
    parts: list[TrainablePart], *, feedback: bool
) -> tuple[PixSearch, tuple[int, int]]:
    """Decode the masks of one conversation; what torch counts forward, and with the backward."""
    model = tiny_model(**SPAN, mask_feedback=feedback)
    set_trainable(model, [*parts, TrainablePart.mask_decoder], TrainableTokens.new_rows)
    features = segmenter_kind(model.segmenter.config).nothing(model.segmenter)
    prompts = torch.zeros(MASKS, HIDDEN, requires_grad=True)

    def run() -> torch.Tensor:
        return model.decode_conversations([0] * MASKS, prompts, features.index([0] * MASKS))

    return model, (counted(run), counted(lambda: run().sum().backward()))


@pytest.mark.parametrize("part", [TrainablePart.lora, TrainablePart.language_model])
def test_language_model(part: TrainablePart) -> None:
    model = tiny_model(lora_rank=4, lora_targets=["q_proj", "v_proj"])
    set_trainable(model, [part, TrainablePart.tokens], TrainableTokens.all)
    length = 96
    embeddings = torch.zeros(1, length, HIDDEN, requires_grad=True)

    def run() -> torch.Tensor:
        return model.language_states(Embedded(embeddings=embeddings))

    planned = language_flops(model, tokens=length, row=length)
    assert planned.forward == pytest.approx(counted(run), rel=FEW_PERCENT)
    assert planned.total == pytest.approx(counted(lambda: run().sum().backward()), rel=FEW_PERCENT)


@pytest.mark.parametrize(
    ("name", "tera"), [("facebook/sam-vit-huge", 5.961), ("facebook/sam2.1-hiera-large", 1.825)]
)
def test_segmenters_of_real_size(name: str, tera: float) -> None:
    """The larger number is also what was measured on Meta's own SAM ViT-H, 5.96 TFLOP."""
    config = AutoConfig.from_pretrained(ARCHITECTURES / name)
    kind = segmenter_kind(config)
    with torch.device("meta"):
        model = kind.model_class(config)
    assert segmenter_flops(model) / 1e12 == pytest.approx(tera, rel=0.002)
    assert decoder_flops(model, masks=1).forward / 1e9 == pytest.approx(3.6, rel=0.01)


def test_a_segmenter_that_is_not_counted_is_named() -> None:
    with pytest.raises(ValueError, match="arithmetic of SAM 3 is not counted"):
        segmenter_flops(sam3_model().segmenter)
