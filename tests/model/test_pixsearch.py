import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pixsearch.config import GroundBy, SegState
from pixsearch.model import PixSearch
from pixsearch.model.families.llava import tower_pixels
from pixsearch.training.loop import own_memory
from tests.model.examples import CONVERSATIONS, batch, picture, with_new_rows
from tests.tiny import tiny_model, tiny_model_folder, write_tiny_parts

SPAN = {"ground_by": GroundBy.span, "mask_feedback": True, "tagger_width": 48}
VARIANTS = ({}, {"tied": True}, {"lora_rank": 2})


@pytest.mark.parametrize("options", [*VARIANTS, SPAN], ids=["plain", "tied", "lora", "span"])
def test_save_and_load_round_trip_exactly(tmp_path: Path, options: dict[str, object]) -> None:
    model = tiny_model(**options)
    with torch.no_grad():  # LoRA starts as a no-op, which would hide that it is lost
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    model.save_pretrained(tmp_path)
    loaded = PixSearch.from_pretrained(tmp_path)
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert loaded.tokenizer.get_vocab() == model.tokenizer.get_vocab()
    assert loaded.config.ids == model.config.ids
    rendered = loaded.renderer.render(CONVERSATIONS[0])
    assert rendered == model.renderer.render(CONVERSATIONS[0])
    inputs = batch(model)
    assert torch.equal(model(**inputs).logits, loaded(**inputs).logits)
    own_memory(loaded)  # where weights lie in a mapped file, last bits are others
    assert torch.equal(model(**inputs).mask_logits, loaded(**inputs).mask_logits)


def test_a_checkpoint_says_whether_it_restates_the_question(tmp_path: Path) -> None:
    tiny_model(restate_question=True).save_pretrained(tmp_path)
    assert PixSearch.from_pretrained(tmp_path).renderer.template.restate_question
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    del config["template"]["restate_question"]  # as in one saved before the option was there
    file.write_text(json.dumps(config))
    assert not PixSearch.from_pretrained(tmp_path).renderer.template.restate_question


def test_composition_keeps_the_weights_of_its_parts(tmp_path: Path) -> None:
    model = PixSearch.compose(write_tiny_parts(tmp_path))
    for part, folder in ((model.backbone, "language_model"), (model.segmenter, "segmenter")):
        saved = type(part).from_pretrained(tmp_path / folder).state_dict()
        composed = part.state_dict()
        assert all(torch.equal(tensor, composed[name]) for name, tensor in saved.items())


@pytest.mark.parametrize("options", VARIANTS, ids=["plain", "tied", "lora"])
def test_logits_equal_those_of_transformers(options: dict[str, object]) -> None:
    model = tiny_model(**options)
    inputs = batch(model)
    is_padding = inputs["input_ids"] == model.config.ids.pad
    every = inputs["input_ids"].masked_fill(is_padding, -100)
    ours = model(**{**inputs, "labels": every}).logits
    has_image = inputs["image_index"] >= 0
    reference = with_new_rows(model)
    images = [picture(0), picture(1, width=20)]
    seen = [images[index] for index in inputs["image_index"][has_image]]
    theirs = reference(
        input_ids=inputs["input_ids"],
        attention_mask=(~is_padding).long(),
        pixel_values=torch.stack([tower_pixels(image, model.config) for image in seen]),
    ).logits
    is_target = every[:, 1:] != -100
    torch.testing.assert_close(ours, theirs[:, :-1][is_target], atol=1e-5, rtol=0)


def test_masks_equal_those_of_transformers(
    shared_model: PixSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SamModel.forward` with the prompt encoder's points replaced by our prompts."""
    segmenter = shared_model.segmenter
    features = shared_model.encode_image([picture(0), picture(1)])
    channels = shared_model.config.segmenter.prompt_encoder_config.hidden_size
    prompts = torch.randn(2, channels)
    ours = shared_model.decode_masks(prompts, features.segmenter)
    encode = segmenter.prompt_encoder.forward
    monkeypatch.setattr(
        segmenter.prompt_encoder,
        "forward",
        lambda **given: (prompts[:, None, None], encode(**given)[1]),
    )
    theirs = segmenter(
        image_embeddings=features.segmenter.embedding,
        input_points=torch.zeros(2, 1, 1, 2),
        multimask_output=False,
    ).pred_masks
    torch.testing.assert_close(ours, theirs[:, 0, 0], atol=1e-6, rtol=0)


def test_masks_of_a_batch_equal_masks_one_by_one(shared_model: PixSearch) -> None:
    features = shared_model.encode_image([picture(0), picture(1), picture(2)])
    prompts = torch.randn(3, shared_model.config.segmenter.prompt_encoder_config.hidden_size)
    together = shared_model.decode_masks(prompts, features.segmenter)
    alone = [
        shared_model.decode_masks(prompts[[row]], features.segmenter.index([row]))
        for row in range(3)
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)
    assert shared_model.decode_masks(prompts[:0], features.segmenter.index([])).shape[0] == 0


def test_one_decoder_call_for_the_whole_batch(
    shared_model: PixSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    decoder = shared_model.segmenter.mask_decoder
    decode = decoder.forward
    monkeypatch.setattr(decoder, "forward", lambda **given: calls.append(1) or decode(**given))
    shared_model(**batch(shared_model))
    assert calls == [1]


def test_rows_do_not_depend_on_their_neighbours(shared_model: PixSearch) -> None:
    together = shared_model(**batch(shared_model))
    alone = [shared_model(**batch(shared_model, (row,))) for row in range(4)]
    torch.testing.assert_close(
        together.mask_logits, torch.cat([one.mask_logits for one in alone]), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        together.losses.language, sum(one.losses.language for one in alone), atol=1e-3, rtol=0
    )
    assert together.losses.counts.tokens == sum(one.losses.counts.tokens for one in alone)
    assert together.losses.counts.masks == 3


@pytest.mark.parametrize(("seg_state", "offset"), [(SegState.predicting, 1), (SegState.token, 0)])
def test_seg_state_chooses_the_position(seg_state: SegState, offset: int) -> None:
    model = tiny_model(seg_state=seg_state)
    inputs = batch(model, (3,))
    states = model.language_states(
        model.embed(inputs["input_ids"], inputs["image_features"], inputs["image_index"])
    )
    position = int((inputs["input_ids"][0] == model.config.ids.seg).nonzero())
    prompt = model.grounding.projection(states[:, position - offset])
    expected = model.decode_masks(prompt, inputs["image_features"].segmenter.index([0]))
    torch.testing.assert_close(model(**inputs).mask_logits, expected, atol=1e-5, rtol=0)


def test_image_encoders_are_frozen_and_in_eval_mode() -> None:
    model = tiny_model().train()
    assert not model.backbone.model.vision_tower.training
    assert not model.segmenter.vision_encoder.training
    features = model.encode_image([picture(0), picture(1, width=20)])
    assert not features.patches[0].requires_grad
    assert features.sizes == ((30, 40), (30, 20))
    swapped = features.index([1, 0])
    assert torch.equal(swapped.index([1]).patches[0], features.patches[0])


@pytest.mark.parametrize("options", [{}, {"attn_implementation": "eager"}])
def test_checkpoint_takes_transformers_options(tmp_path: Path, options: dict[str, str]) -> None:
    folder = tiny_model_folder(tmp_path)
    expected = options.get("attn_implementation", "sdpa")
    model = PixSearch.from_pretrained(folder, **options)
    assert model.backbone.model.language_model.config._attn_implementation == expected


class NoSearcher:
    def search(self, queries, k, *, region_crop):  # type: ignore[no-untyped-def]
        return [[] for _ in queries]


def test_answer_is_three_lines(shared_model: PixSearch) -> None:
    image = picture(0)
    answer = shared_model.answer(image, "What is the red cup?", NoSearcher())
    assert isinstance(answer.text, str)
    assert all(mask.shape == (image.height, image.width) for mask in answer.masks)
    assert len(answer.phrases) == len(answer.masks)


def test_an_answer_that_grounds_has_a_mask_for_each_phrase(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_model()
    scores = model.next_logits

    def eager_to_ground(states: Tensor) -> Tensor:
        logits = scores(states)
        logits[..., model.config.ids.seg] += 1e3
        return logits

    monkeypatch.setattr(model, "next_logits", eager_to_ground)
    image = picture(0)
    answer = model.answer(image, "What is the red cup?", NoSearcher())
    assert len(answer.masks) == len(answer.phrases) > 0
    assert all(mask.shape == (image.height, image.width) for mask in answer.masks)


def test_placeholder_count_is_checked(shared_model: PixSearch) -> None:
    inputs = batch(shared_model, (2,))
    one_less = inputs["input_ids"].clone()
    first = int((one_less[0] == shared_model.config.ids.image).nonzero()[0])
    one_less[0, first] = shared_model.config.ids.end
    with pytest.raises(ValueError, match=r"row 0 .* 15 image placeholders, its image 16 patches"):
        shared_model(**{**inputs, "input_ids": one_less})
    with pytest.raises(ValueError, match="16 image placeholders, its image 0 patches"):
        shared_model(**{**inputs, "image_features": None, "image_index": None})


def test_masks_and_phrases_must_match(shared_model: PixSearch) -> None:
    inputs = batch(shared_model)
    with pytest.raises(ValueError, match=r"3 grounded phrases and 2 target masks"):
        shared_model(**{**inputs, "target_masks": inputs["target_masks"][:2]})


def test_grounding_without_image_is_an_error(shared_model: PixSearch) -> None:
    blind = replace(CONVERSATIONS[0], has_image=False)
    ids = torch.tensor([shared_model.renderer.render(blind).input_ids])
    with pytest.raises(ValueError, match="row without an image has a phrase"):
        shared_model(input_ids=ids, labels=ids)
