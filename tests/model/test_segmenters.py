"""Masks equal those of transformers' own segmenters for the same prompt."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import Sam2Model, Sam3ImageProcessor, Sam3TrackerModel

from pixsearch.model import PixSearch
from pixsearch.model.segmenters import Prompting, SegmenterFeatures, segmenter_kind
from tests.families import (
    family_model,
    sam3_model,
    tiny_sam2_config,
    tiny_sam3_config,
    write_sam2,
)
from tests.model.examples import picture
from tests.tiny import write_tiny_parts

SAMS = ["sam2", "sam3"]


def video_tracker_config() -> dict[str, Any]:
    """What `sam3_video`'s config.json says of its tracker."""
    described = tiny_sam3_config().to_dict()
    return described | {"model_type": "sam3_tracker_video", "image_size": 64}


@pytest.mark.parametrize("make", [lambda: family_model("qwen3_vl"), sam3_model], ids=SAMS)
def test_masks_equal_those_of_transformers(
    make: Callable[[], PixSearch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `forward` with the prompt encoder's points replaced by our prompts."""
    model = make()
    if isinstance(model.segmenter, Sam3TrackerModel):
        torch.nn.init.zeros_(model.segmenter.no_memory_embedding)  # see the test of its place
    segmenter, frame = model.segmenter, model.config.segmenter_frame
    images = [picture(0), picture(1, width=20)]
    prompts = torch.randn(2, model.config.segmenter.prompt_encoder_config.hidden_size)
    with torch.no_grad():
        ours = model.decode_masks(prompts, model.encode_image(images).segmenter)
    points = prompts[:, None, None]
    encode = segmenter.prompt_encoder.forward
    monkeypatch.setattr(
        segmenter.prompt_encoder, "forward", lambda **given: (points, encode(**given)[1])
    )
    with torch.no_grad():
        theirs = segmenter(
            pixel_values=torch.stack([frame.pixels(image) for image in images]),
            input_points=torch.zeros(2, 1, 1, 2),
            multimask_output=False,
        ).pred_masks
    torch.testing.assert_close(ours, theirs[:, 0, 0], atol=1e-6, rtol=0)


def test_sam2_is_never_given_another_mask_than_the_trained_one(tmp_path: Path) -> None:
    write_sam2(tmp_path)
    segmenter = Sam2Model.from_pretrained(tmp_path)
    assert segmenter.mask_decoder.dynamic_multimask_via_stability
    segmenter_kind(segmenter.config).prepare(segmenter)
    assert not segmenter.mask_decoder.dynamic_multimask_via_stability
    rebuilt = Sam2Model(segmenter.config)
    assert not rebuilt.mask_decoder.dynamic_multimask_via_stability


def test_no_memory_is_added_to_the_map_that_sam3_decodes() -> None:
    """As transformers' own video model has it, and the two others as its image model."""
    segmenter = sam3_model().segmenter
    pixels = torch.randn(2, 3, 64, 64)
    features = segmenter_kind(segmenter.config).encode(segmenter, pixels)
    *finer, embedding = segmenter.get_image_embeddings(pixels)
    nothing = segmenter.no_memory_embedding
    assert nothing.any()
    torch.testing.assert_close(features.embedding, embedding + nothing.view(1, -1, 1, 1))
    for ours, theirs in zip(features.finer, finer, strict=True):
        assert torch.equal(ours, theirs)


def test_sam3_is_read_as_the_hub_has_it(tmp_path: Path) -> None:
    """The tracker of a `Sam3VideoModel`: its image encoder stands in the detector."""
    expected = Sam3TrackerModel(tiny_sam3_config())
    spelled = {
        "vision_encoder.backbone.": "detector_model.vision_encoder.backbone.",
        "vision_encoder.neck.": "tracker_neck.",
    }
    weights = {
        next((new + key[len(old) :] for old, new in spelled.items() if key.startswith(old)), None)
        or f"tracker_model.{key}": value.clone()
        for key, value in expected.state_dict().items()
    }
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    described = {"model_type": "sam3_video", "tracker_config": video_tracker_config()}
    (tmp_path / "config.json").write_text(json.dumps(described))
    Sam3ImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    options = write_tiny_parts(tmp_path / "llava")
    options.segmenter = str(tmp_path)
    model = PixSearch.compose(options).eval()
    model.save_pretrained(tmp_path / "saved")
    for segmenter in (model.segmenter, PixSearch.from_pretrained(tmp_path / "saved").segmenter):
        for key, value in expected.state_dict().items():
            assert torch.equal(segmenter.state_dict()[key], value), key


def test_a_checkpoint_with_sam3_comes_back(tmp_path: Path) -> None:
    model = sam3_model()
    model.save_pretrained(tmp_path)
    loaded = PixSearch.from_pretrained(tmp_path).eval()
    features = model.encode_image([picture(0)])
    again = loaded.encode_image([picture(0)])
    prompts = torch.randn(1, model.config.segmenter.prompt_encoder_config.hidden_size)
    with torch.no_grad():
        masks = model.decode_masks(prompts, features.segmenter)
        assert torch.equal(loaded.decode_masks(prompts, again.segmenter), masks)


@pytest.mark.parametrize(
    "make", [lambda: family_model("llava"), lambda: family_model("qwen3_vl"), sam3_model]
)
def test_idle_weights_are_those_without_a_gradient(make: Callable[[], PixSearch]) -> None:
    model = make()
    kind = segmenter_kind(model.config.segmenter)
    features = model.encode_image([picture(0)]).segmenter
    prompts = torch.randn(1, model.config.segmenter.prompt_encoder_config.hidden_size)
    kind.decode(model.segmenter, prompts, features).sum().backward()
    decoder = dict(model.segmenter.mask_decoder.named_parameters())
    idle = {id(one) for one in kind.idle_parameters(model.segmenter)}
    without = {key for key, one in decoder.items() if one.grad is None or not one.grad.any()}
    named = {key for key, one in decoder.items() if id(one) in idle}
    assert named <= without
    # keys' biases shift all scores of a softmax alike, so that their gradient is 0 as well
    assert all(key.endswith("k_proj.bias") for key in without - named)


def test_features_are_picked_and_joined_on_all_levels() -> None:
    features = family_model("qwen3_vl").encode_image([picture(0), picture(1)]).segmenter
    swapped = SegmenterFeatures.cat([features.index([1]), features.index([0])])
    assert len(features.finer) == 2
    for ours, theirs in zip(
        (swapped.embedding, *swapped.finer), (features.embedding, *features.finer), strict=True
    ):
        assert torch.equal(ours, theirs[[1, 0]])
    nothing = segmenter_kind(tiny_sam2_config()).nothing(family_model("qwen3_vl").segmenter)
    assert [one.shape[1:] for one in nothing.finer] == [one.shape[1:] for one in features.finer]


def test_idle_weights_where_the_best_mask_is_picked() -> None:
    """The heads that were not picked have a gradient of zero; idle ones have none."""
    model = family_model("qwen3_vl")
    kind, prompting = segmenter_kind(model.config.segmenter), Prompting(picks_best_mask=True)
    features = model.encode_image([picture(0)]).segmenter
    prompts = torch.randn(1, model.config.segmenter.prompt_encoder_config.hidden_size)
    model.segmenter.zero_grad()
    kind.decode(model.segmenter, prompts, features, prompting).sum().backward()
    heads = model.segmenter.mask_decoder.output_hypernetworks_mlps
    idle = {id(one) for one in kind.idle_parameters(model.segmenter, prompting)}
    assert all(id(one) in idle for one in heads[0].parameters())
    assert all(id(one) not in idle and one.grad is not None for one in heads[1:].parameters())
