"""A converted Sa2VA computes what the published code computes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import Sam2Model

from pixsearch.chat import Conversation
from pixsearch.config import ConvertOptions, SegState
from pixsearch.generation import Request
from pixsearch.generation.records import FinishReason
from pixsearch.model import PixSearch
from pixsearch.model.published import sa2va
from pixsearch.model.published.convert import convert
from pixsearch.model.published.names import rename
from pixsearch.model.published.sa2va import Sa2va
from pixsearch.model.published.sam2 import HIERA_LARGE, complete_sam2, sam2_config
from pixsearch.rendering import Rendered, TokenKind
from tests.generation.scripted import run_script
from tests.model.examples import picture
from tests.parity.plain_sa2va import INSTRUCTIONS, SAM_PREFIX, PlainSa2va
from tests.parity.published import QUESTION
from tests.parity.published_sa2va import (
    DECODER_HEADS,
    FACTS,
    MEMORY_NAMES,
    plain_model,
    published_tokenizer,
    sam2_shapes,
    trunk_shapes,
    write_published,
)
from tests.parity.test_published import answered, rewrite

TOLERANCE = 1e-4  # fp32
IMAGE = picture(0, width=60, height=40)  # six tiles and a thumbnail


@pytest.fixture(autouse=True)
def tiny_hiera(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published Sa2VAs have one Hiera, of which shapes do not tell all."""
    monkeypatch.setattr(sa2va, "SEGMENTER", FACTS)


def options(folder: Path) -> ConvertOptions:
    return ConvertOptions(
        source=str(folder / "checkpoint"),
        output_dir=str(folder / "converted"),
        decoder_heads=DECODER_HEADS,
    )


def retell(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a written config.json."""
    file = folder / "checkpoint" / "config.json"
    told = json.loads(file.read_text())
    change(told)
    file.write_text(json.dumps(told))


def both(folder: Path, template: str) -> tuple[PixSearch, PlainSa2va]:
    """The converted model, saved and loaded, and the plain one."""
    plain = plain_model(folder, template, write_published(folder, template))
    convert(options(folder)).model.save_pretrained(folder / "converted")
    return PixSearch.from_pretrained(folder / "converted").eval(), plain


def rendered(model: PixSearch) -> Rendered:
    return model.renderer.render(answered(), num_image_tokens=model.num_image_tokens(IMAGE))


@pytest.mark.parametrize("template", list(INSTRUCTIONS))
@torch.no_grad()
def test_a_converted_model_computes_the_published_arithmetic(tmp_path: Path, template: str) -> None:
    model, plain = both(tmp_path, template)
    input_ids = rendered(model).input_ids
    features = model.encode_image([IMAGE])
    batch = torch.tensor([input_ids])
    states = model.language_states(model.embed(batch, features, torch.tensor([0])))
    expected = plain.states(input_ids, IMAGE)
    torch.testing.assert_close(states[0], expected, atol=TOLERANCE, rtol=0)

    logits, published = model.next_logits(states)[0], plain.logits(expected)
    vocabulary = published.shape[1]
    torch.testing.assert_close(logits[:, :vocabulary], published, atol=TOLERANCE, rtol=0)

    grounded = model.grounding.find(states, batch)
    prompts = plain.prompts(expected, input_ids)
    ours = model.grounding(grounded.states, grounded.phrases, len(grounded.rows))
    torch.testing.assert_close(ours, prompts, atol=TOLERANCE, rtol=0)

    masks = model.decode_masks(ours, features.segmenter)
    expected_masks = plain.masks(prompts, IMAGE)
    assert expected_masks.shape == (1, 32, 32)
    assert expected_masks.abs().max() > 0.1
    torch.testing.assert_close(masks, expected_masks, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("template", list(INSTRUCTIONS))
@pytest.mark.parametrize("size", [(60, 40), (28, 28), (20, 95), (90, 91)])
def test_prompts_are_tokenised_as_published(
    tmp_path: Path, template: str, size: tuple[int, int]
) -> None:
    model, plain = both(tmp_path, template)
    image = picture(1, width=size[0], height=size[1])
    prompt = model.renderer.render_prompt(
        Conversation.question(QUESTION, has_image=True),
        num_image_tokens=model.num_image_tokens(image),
    )
    assert prompt.input_ids == plain.prompt_ids(QUESTION, image)


@pytest.mark.parametrize("size", [(60, 40), (28, 28), (20, 95)])
def test_pixels_are_those_of_the_published_code(tmp_path: Path, size: tuple[int, int]) -> None:
    model, plain = both(tmp_path, "qwen_chat")
    image: Image.Image = picture(1, width=size[0], height=size[1])
    tiles = model.family.processor(images=[image], return_tensors="pt", crop_to_patches=True)
    torch.testing.assert_close(tiles["pixel_values"], plain.tiles(image), atol=1e-5, rtol=0)
    ours = model.config.segmenter_frame.pixels(image)
    torch.testing.assert_close(ours, plain.sam_pixels(image), atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_best_of_three_masks_is_taken(tmp_path: Path) -> None:
    """Of several prompts not all take the same mask, so that the choice is seen."""
    model, plain = both(tmp_path, "qwen_chat")
    prompts = 2 * torch.randn(12, 32, generator=torch.Generator().manual_seed(3))
    features = model.encode_image([IMAGE]).segmenter.index([0] * len(prompts))
    kind, prompting = model._kind, model.config.prompting
    ours = kind.decode(model.segmenter, prompts, features, prompting)
    torch.testing.assert_close(ours, plain.masks(prompts, IMAGE), atol=TOLERANCE, rtol=0)


def test_seg_is_the_published_token_by_its_own_state(tmp_path: Path) -> None:
    tensors = write_published(tmp_path, "qwen_chat")
    model = convert(options(tmp_path)).model
    seg = model.config.ids.seg
    assert model.tokenizer.convert_ids_to_tokens(seg) == "[SEG]"
    assert model.config.seg_state == SegState.token.value
    row = model.new_rows.ids.index(seg)
    published = tensors["language_model.model.embed_tokens.weight"]
    assert torch.equal(model.new_rows.embedding[row], published[seg])
    assert model.config.ids.search >= len(published)


def test_an_answer_is_over_with_the_words_that_end_it(tmp_path: Path) -> None:
    """Phi-3's end is no token of Qwen2.5's; what comes after it is none of the answer."""
    write_published(tmp_path, "phi3_chat")
    model = convert(options(tmp_path)).model
    request = Request(id="one", question=QUESTION, image=IMAGE)
    trajectory = run_script(model, "It is red.<|end|>\nIt is", request=request)
    assert trajectory.answer_text == "It is red."
    assert trajectory.finish_reason is FinishReason.end
    last = [*trajectory.rendered.token_kind[-2:]]
    assert last == [TokenKind.GENERATED, TokenKind.PROMPT]
    assert trajectory.rendered.input_ids[-1] == model.config.ids.end


def test_tied_matrices_stay_tied(tmp_path: Path) -> None:
    write_published(tmp_path, "qwen_chat")
    head = "language_model.lm_head.weight"
    rewrite(tmp_path, lambda all: {name: one for name, one in all.items() if name != head})
    retell(tmp_path, lambda told: told["llm_config"].update(tie_word_embeddings=True))
    model = convert(options(tmp_path)).model
    assert model.new_rows.head is None
    assert model.backbone.lm_head.weight is model.backbone.get_input_embeddings().weight


def test_the_memory_of_videos_is_dropped_by_name(tmp_path: Path) -> None:
    write_published(tmp_path, "qwen_chat")
    (reason, names), *others = convert(options(tmp_path)).dropped.items()
    assert not others
    assert "memory of a video's frames" in reason
    assert sorted(names) == sorted(SAM_PREFIX + name for name in MEMORY_NAMES)


def test_another_language_model_is_refused_by_name(tmp_path: Path) -> None:
    write_published(tmp_path, "qwen_chat")
    internlm = ["InternLM2ForCausalLM"]
    retell(tmp_path, lambda told: told["llm_config"].update(architectures=internlm))
    with pytest.raises(ValueError, match="a Sa2VA on InternLM2ForCausalLM; PixSearch reads"):
        convert(options(tmp_path))


def test_all_that_does_not_fit_is_listed_at_once(tmp_path: Path) -> None:
    def spoil(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        tensors[f"{SAM_PREFIX}no_mem_embed"] = torch.zeros(1, 1, 3)
        del tensors["mlp1.0.weight"]
        return tensors

    write_published(tmp_path, "qwen_chat")
    rewrite(tmp_path, spoil)
    with pytest.raises(ValueError, match="2 tensors do not fit") as error:
        convert(options(tmp_path))
    assert "multi_modal_projector.layer_norm.weight is missing" in str(error.value)
    assert "segmenter.no_memory_embedding is (1, 1, 3), here (1, 1, 32)" in str(error.value)


def test_a_missing_matrix_that_tells_sizes_is_named(tmp_path: Path) -> None:
    write_published(tmp_path, "qwen_chat")
    head = "language_model.model.embed_tokens.weight"
    rewrite(tmp_path, lambda all: {name: one for name, one in all.items() if name != head})
    with pytest.raises(ValueError, match=r"embed_tokens\.weight is missing, by which"):
        convert(options(tmp_path))


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    write_published(tmp_path, "qwen_chat")
    rows = "language_model.model.embed_tokens.weight"
    rewrite(tmp_path, lambda all: all | {rows: all[rows][:100]})
    with pytest.raises(ValueError, match=r"<IMG_CONTEXT> has the id \d+ .* embedding 100 rows"):
        convert(options(tmp_path))


def test_another_hiera_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_published(tmp_path, "qwen_chat")
    monkeypatch.setattr(sa2va, "SEGMENTER", HIERA_LARGE)
    with pytest.raises(ValueError, match=r"have \[1, 2, 3, 2\] blocks, .* \[2, 6, 36, 4\]"):
        convert(options(tmp_path))


def test_options_of_other_families_and_unknown_templates_are_refused(tmp_path: Path) -> None:
    write_published(tmp_path, "qwen_chat")
    given = options(tmp_path)
    given.clip = "openai/clip"
    with pytest.raises(ValueError, match=r"brings its own image encoder; leave clip out"):
        convert(given)
    retell(tmp_path, lambda told: told.update(template="internlm2_chat"))
    with pytest.raises(ValueError, match=r"has template=internlm2_chat; PixSearch knows qwen_chat"):
        convert(options(tmp_path))


def test_the_large_hiera_has_the_shapes_that_it_has_in_transformers() -> None:
    """Widths and depths of the published one; nothing is computed."""
    shapes = sam2_shapes(trunk_shapes(144, HIERA_LARGE.stages, 8))
    published = {
        SAM_PREFIX + name: torch.empty(shape, device="meta") for name, shape in shapes.items()
    }
    renamed = rename(published, rules=Sa2va.rules, dropped=Sa2va.dropped, family=Sa2va.name)
    config = sam2_config(renamed.tensors, HIERA_LARGE)
    trunk = config.vision_config.backbone_config
    assert trunk.blocks_per_stage == [2, 6, 36, 4]
    assert trunk.num_attention_heads_per_stage == [2, 4, 8, 16]
    assert config.vision_config.backbone_channel_list == [1152, 576, 288, 144]
    assert config.vision_config.backbone_feature_sizes == [[256, 256], [128, 128], [64, 64]]
    with torch.device("meta"):
        model = Sam2Model(config)
    expected = {f"segmenter.{name}": one.shape for name, one in model.state_dict().items()}
    assert {name: one.shape for name, one in complete_sam2(renamed.tensors).items()} == expected


def test_qwens_own_tokenizer_files_are_read(tmp_path: Path) -> None:
    """vocab.json and merges.txt, no tokenizer.json; the code beside the weights is not run."""
    write_published(tmp_path, "phi3_chat")
    checkpoint = tmp_path / "checkpoint"
    description = json.loads((checkpoint / "tokenizer.json").read_text())
    retell(tmp_path, lambda told: told.update(auto_map={"AutoConfig": "theirs.Sa2VAChatConfig"}))
    (checkpoint / "tokenizer.json").unlink()
    (checkpoint / "vocab.json").write_text(json.dumps(description["model"]["vocab"]))
    merges = [" ".join(pair) for pair in description["model"]["merges"]]
    (checkpoint / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    told = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>"} | {
        "pad_token": "<|endoftext|>",
        "added_tokens_decoder": {
            str(token["id"]): {key: value for key, value in token.items() if key != "id"}
            for token in description["added_tokens"]
        },
    }
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(told))
    model, expected = convert(options(tmp_path)).model, published_tokenizer()
    text = INSTRUCTIONS["phi3_chat"].format(input=f"<img></img>\n{QUESTION}[SEG]")
    assert model.tokenizer(text).input_ids == expected(text).input_ids
    assert model.config.ids.seg == expected.convert_tokens_to_ids("[SEG]")
