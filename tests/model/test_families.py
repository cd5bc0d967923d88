"""Each family equals transformers' own model, and depends on its image."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from pixsearch.chat_templates import VICUNA
from pixsearch.config import ChatStyle, Projector
from pixsearch.model import PixSearch
from pixsearch.model.families.llava import tower_pixels
from pixsearch.model.families.processors import processor_from
from tests.families import ALL_FAMILIES, FAMILIES, family_model, write_family_parts
from tests.model.examples import CONVERSATIONS, IMAGE_INDEX, batch, picture, with_new_rows
from tests.tiny import write_tiny_parts

TOLERANCE = 1e-5  # fp32
SIZES = [(30, 40), (64, 20), (20, 64), (70, 66), (33, 31)]  # height and width


@pytest.fixture(params=ALL_FAMILIES)
def model(request: pytest.FixtureRequest) -> PixSearch:
    return family_model(request.param)


def their_inputs(model: PixSearch, image: Image.Image, input_ids: Tensor) -> dict[str, Tensor]:
    """The arguments that transformers' own model takes for one image."""
    kind = model.config.backbone.model_type
    if kind == "llava":
        return {"pixel_values": tower_pixels(image, model.config)[None]}
    processor = processor_from(model.config.image_processor)
    options = {"crop_to_patches": True} if kind == "internvl" else {}
    inputs = dict(processor(images=image, return_tensors="pt", **options))
    inputs.pop("num_patches", None)
    inputs.pop("batch_num_images", None)
    if model.family.has_axes:
        is_image = input_ids == model.config.ids.image
        inputs["mm_token_type_ids"] = is_image.int()
    return inputs


@torch.no_grad()
def our_logits(model: PixSearch, input_ids: Tensor, image: Image.Image) -> Tensor:
    features = model.encode_image([image])
    states = model.language_states(model.embed(input_ids, features, torch.tensor([0])))
    return model.next_logits(states)


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_logits_equal_those_of_transformers(model: PixSearch, size: tuple[int, int]) -> None:
    image = picture(3, height=size[0], width=size[1])
    rendered = model.renderer.render(
        CONVERSATIONS[0], num_image_tokens=model.num_image_tokens(image)
    )
    input_ids = torch.tensor([rendered.input_ids])
    theirs = with_new_rows(model)(
        input_ids=input_ids,
        attention_mask=torch.ones_like(input_ids),
        **their_inputs(model, image, input_ids),
    ).logits
    torch.testing.assert_close(our_logits(model, input_ids, image), theirs, atol=TOLERANCE, rtol=0)


def test_logits_change_with_the_image(model: PixSearch) -> None:
    images = [picture(seed, height=40, width=40) for seed in range(2)]
    rendered = model.renderer.render(
        CONVERSATIONS[2], num_image_tokens=model.num_image_tokens(images[0])
    )
    input_ids = torch.tensor([rendered.input_ids])
    last = [our_logits(model, input_ids, image)[0, -1] for image in images]
    assert (last[0] - last[1]).abs().max() > 100 * TOLERANCE


def test_a_batch_of_different_sizes_equals_its_rows_alone(model: PixSearch) -> None:
    together = model(**batch(model))
    alone = [model(**batch(model, (row,))) for row in range(len(CONVERSATIONS))]
    torch.testing.assert_close(
        together.losses.language, sum(one.losses.language for one in alone), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        together.mask_logits, torch.cat([one.mask_logits for one in alone]), atol=1e-4, rtol=0
    )
    assert IMAGE_INDEX.count(-1) == 1, "one row has no image"


def test_save_and_load_round_trip_exactly(model: PixSearch, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    loaded = PixSearch.from_pretrained(tmp_path)
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    inputs = batch(model)
    assert torch.equal(model(**inputs).logits, loaded(**batch(loaded)).logits)
    assert torch.equal(model(**inputs).mask_logits, loaded(**inputs).mask_logits)


QUESTION = "What is the red cup?"
CHAT = f"{QUESTION}<|im_end|>\n<|im_start|>assistant\nThere are three.<|im_end|>\n"
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
WRITTEN = {
    "llava_next": f"USER: <image>\n{QUESTION} ASSISTANT: There are three.</s>",
    "llava_onevision": f"{SYSTEM}<|im_start|>user\n<image>\n{CHAT}",
    "qwen2_5_vl": f"{SYSTEM}<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{CHAT}",
    "qwen3_vl": f"<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{CHAT}",
    "internvl": f"<|im_start|>user\n<img><IMG_CONTEXT></img>\n{CHAT}",
}


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_conversation_is_written_as_the_family_was_trained(name: str) -> None:
    model = family_model(name)
    rendered = model.renderer.render(CONVERSATIONS[2], num_image_tokens=1)
    text = model.tokenizer.decode(rendered.input_ids)
    # the tiny tokenizer puts a space behind a token, which the families' own do not
    squeezed = re.sub(r"(?<=>) ", "", text)
    assert squeezed.strip().removeprefix(VICUNA) == WRITTEN[name].strip()
    _, added, _, _ = FAMILIES[name]
    markers = [one for one in added if one in text]
    assert set(model.tokenizer.convert_tokens_to_ids(markers)) <= set(rendered.input_ids)


def test_a_style_of_another_family_is_refused(tmp_path: Path) -> None:
    options = replace(write_tiny_parts(tmp_path), chat=ChatStyle.qwen3_vl)
    with pytest.raises(ValueError, match=r"model\.chat=qwen3_vl: <\|im_start\|>, .* are no tokens"):
        PixSearch.compose(options)


def test_a_backbone_s_own_token_may_stand_for_one_of_ours(tmp_path: Path) -> None:
    """It keeps its id and its rows; the other six are new."""
    options = write_family_parts(tmp_path, "qwen3_vl")
    model = PixSearch.compose(replace(options, token_mapping={"<seg>": "<|video_pad|>"}))
    seg = model.config.ids.seg
    assert model.tokenizer.convert_ids_to_tokens(seg) == "<|video_pad|>"
    row = model.new_rows.ids.index(seg)
    assert torch.equal(model.new_rows.embedding[row], model.get_input_embeddings().weight[seg])
    assert torch.equal(model.new_rows.head_rows[row], model.backbone.lm_head.weight[seg])
    logits = model(**batch(model)).logits
    assert logits.shape[-1] == max(model.new_rows.ids) + 1


def test_two_tokens_of_ours_are_never_one(tmp_path: Path) -> None:
    options = write_family_parts(tmp_path, "qwen3_vl")
    mapping = {"<seg>": "<|video_pad|>", "<region>": "<|video_pad|>"}
    with pytest.raises(ValueError, match="two tokens of ours would be one"):
        PixSearch.compose(replace(options, token_mapping=mapping))


def test_weights_tell_whether_rows_are_tied(tmp_path: Path) -> None:
    """As InternVL3's config.json, which says tied of two matrices."""
    options = write_family_parts(tmp_path, "internvl")
    file = tmp_path / "language_model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tie_word_embeddings": True}))
    model = PixSearch.compose(options)
    assert model.new_rows.head is not None


@pytest.mark.parametrize("name", ["llava", "llava_next"])
def test_the_projector_may_be_one_layer(name: str, tmp_path: Path) -> None:
    with_own = family_model(name)
    options = write_tiny_parts(tmp_path) if name == "llava" else write_family_parts(tmp_path, name)
    model = PixSearch.compose(replace(options, projector=Projector.linear)).eval()
    projector = model.family.projector(model.backbone)
    assert isinstance(projector, nn.Linear)
    assert not isinstance(with_own.family.projector(with_own.backbone), nn.Linear)
    model.save_pretrained(tmp_path / "checkpoint")
    loaded = PixSearch.from_pretrained(tmp_path / "checkpoint")
    inputs = batch(model)
    assert torch.equal(model(**inputs).logits, loaded(**inputs).logits)
    blind = batch(model.train(), (1,)) | {"image_features": None, "image_index": None}
    model(**blind).losses.language.backward()
    assert projector.weight.grad is not None, "a batch without an image touches it all the same"


@pytest.mark.parametrize("name", ["qwen3_vl", "internvl"])
def test_a_family_without_a_replaceable_projector_says_so(name: str, tmp_path: Path) -> None:
    options = replace(write_family_parts(tmp_path, name), projector=Projector.linear)
    with pytest.raises(ValueError, match=r"keeps its own; set model\.projector=own"):
        PixSearch.compose(options)


def test_an_unknown_family_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    options = write_tiny_parts(tmp_path)
    (tmp_path / "language_model" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="a 'bert' model is of no family that PixSearch knows"):
        PixSearch.compose(options)


def test_a_segmenter_that_cannot_be_prompted_is_refused(tmp_path: Path) -> None:
    options = write_tiny_parts(tmp_path)
    (tmp_path / "segmenter" / "config.json").write_text('{"model_type": "maskformer"}')
    with pytest.raises(ValueError, match="a 'maskformer' model cannot be prompted"):
        PixSearch.compose(options)
