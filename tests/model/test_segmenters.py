"""Masks equal those of transformers' own segmenters for the same prompt."""

from pathlib import Path

import pytest
import torch
from transformers import Sam2Model

from pixsearch.model.segmenters import Prompting, SegmenterFeatures, segmenter_kind
from tests.families import family_model, tiny_sam2_config, write_sam2
from tests.model.examples import picture


def test_masks_equal_those_of_sam2(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Sam2Model.forward` with the prompt encoder's points replaced by our prompts."""
    model = family_model("qwen3_vl")
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


@pytest.mark.parametrize("name", ["llava", "qwen3_vl"])
def test_idle_weights_are_those_without_a_gradient(name: str) -> None:
    model = family_model(name)
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
