"""A converted checkpoint computes what the published code computes."""

import json
from pathlib import Path

import pytest
import torch
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from torch import Tensor

from pixsearch.chat import ChatRenderer, Conversation, Grounded, Message, Role, Text
from pixsearch.chat_templates import TEMPLATES
from pixsearch.config import ChatStyle
from pixsearch.model import PixSearch
from pixsearch.model.published.convert import convert
from pixsearch.model.published.lisa import published_tokenizer
from pixsearch.tokens import SEG, find_token_ids
from tests.model.examples import picture
from tests.parity.plain_lisa import PROMPTS
from tests.parity.published import (
    QUESTION,
    TOKENS,
    collapsed,
    options,
    plain_model,
    rewrite,
    with_adapters,
    write_published,
)

TOLERANCE = 1e-4  # fp32
IMAGE = picture(0, width=60, height=40)


def answered() -> Conversation:
    question = Message(role=Role.USER, parts=(Text(text=QUESTION),))
    answer = Message(role=Role.ASSISTANT, parts=(Grounded(phrase="Sure, it is"), Text(text=".")))
    return Conversation(messages=(question, answer), has_image=True)


@pytest.mark.parametrize("kind", ["lisa", "glamm"])
@torch.no_grad()
def test_a_converted_model_computes_the_published_arithmetic(tmp_path: Path, kind: str) -> None:
    plain = plain_model(tmp_path, kind, write_published(tmp_path, kind))
    convert(options(tmp_path)).model.save_pretrained(tmp_path / "converted")
    model = PixSearch.from_pretrained(tmp_path / "converted").eval()

    prompt = model.renderer.render_prompt(Conversation.question(QUESTION, has_image=True))
    theirs = plain.prompt_ids(QUESTION)
    ours = [token for token in prompt.input_ids if token != model.config.ids.image]
    assert ours == [token for token in theirs if token >= 0]

    rendered = model.renderer.render(answered())
    features = model.encode_image([IMAGE])
    input_ids = torch.tensor([rendered.input_ids])
    states = model.language_states(model.embed(input_ids, features, torch.tensor([0])))
    collapse = collapsed(rendered.input_ids, model.config.ids.image)
    expected, places = plain.states(collapse, IMAGE)
    torch.testing.assert_close(states[0], expected, atol=TOLERANCE, rtol=0)

    logits, published = model.next_logits(states)[0], plain.logits(expected)
    vocabulary = published.shape[1]
    torch.testing.assert_close(logits[:, :vocabulary], published, atol=TOLERANCE, rtol=0)

    grounded = model.grounding.find(states, input_ids)
    prompts = model.grounding(grounded.states, grounded.phrases, len(grounded.rows))
    masks = model.decode_masks(prompts, features.segmenter)
    expected_masks = plain.masks(expected, places, IMAGE)
    assert expected_masks.abs().max() > 0.1
    torch.testing.assert_close(masks, expected_masks, atol=TOLERANCE, rtol=0)


def test_a_tokenizer_of_its_time_is_read(tmp_path: Path) -> None:
    """`tokenizer.model` of sentencepiece and `added_tokens.json`, no tokenizer.json."""
    write_published(tmp_path, "lisa")
    checkpoint = tmp_path / "checkpoint"
    for file in checkpoint.glob("*token*"):
        file.unlink()
    texts = [*PROMPTS.values(), QUESTION, "Sure, it is ."] * 4
    with (checkpoint / "tokenizer.model").open("wb") as model:
        SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=110,
            byte_fallback=False,
            pad_id=-1,
            minloglevel=2,
        )
    size = SentencePieceProcessor(model_file=str(checkpoint / "tokenizer.model")).vocab_size()
    added = {token: size + place for place, token in enumerate(TOKENS["lisa"])}
    (checkpoint / "added_tokens.json").write_text(json.dumps(added))
    told = {"tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>"}
    told |= {"bos_token": "<s>", "eos_token": "</s>", "legacy": True}
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(told))
    tokenizer = published_tokenizer(checkpoint, max_length=512)
    assert tokenizer.convert_tokens_to_ids("[SEG]") == added["[SEG]"]
    assert tokenizer.convert_tokens_to_ids("<search>") > max(added.values())
    ids = find_token_ids(
        tokenizer,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        mapping={SEG: "[SEG]"},
    )
    renderer = ChatRenderer(tokenizer, ids, num_image_tokens=1, template=TEMPLATES[ChatStyle.lisa])
    prompt = renderer.render_prompt(Conversation.question(QUESTION, has_image=True)).input_ids
    pieces = tokenizer.convert_ids_to_tokens(prompt)
    image = pieces.index("<image>")
    assert pieces[0] == "<s>"
    assert pieces[image - 1] == "<im_start>"
    assert pieces[image - 2].endswith(":")
    assert pieces[image + 1] == "<im_end>"
    assert pieces[image + 2].startswith("▁")


def test_adapters_are_merged_and_prefixes_dropped(tmp_path: Path) -> None:
    write_published(tmp_path / "merged", "lisa")
    write_published(tmp_path / "adapters", "lisa")
    rewrite(tmp_path / "adapters", with_adapters)
    merged, adapters = (
        convert(options(tmp_path / name)).model.state_dict() for name in ("merged", "adapters")
    )
    assert merged.keys() == adapters.keys()
    for name, tensor in merged.items():
        torch.testing.assert_close(adapters[name], tensor, atol=1e-4, rtol=0)


def test_what_is_not_used_is_reported(tmp_path: Path) -> None:
    write_published(tmp_path, "glamm")
    dropped = convert(options(tmp_path)).dropped
    names = {name for group in dropped.values() for name in group}
    assert "model.region_encoder.mlvl_fuse.0.weight" in names
    assert "model.layers.0.self_attn.rotary_emb.inv_freq" in names


def test_seg_is_the_published_token_and_the_others_are_new(tmp_path: Path) -> None:
    tensors = write_published(tmp_path, "lisa")
    model = convert(options(tmp_path)).model
    seg = model.config.ids.seg
    assert model.tokenizer.convert_ids_to_tokens(seg) == "[SEG]"
    row = model.new_rows.ids.index(seg)
    assert torch.equal(model.new_rows.embedding[row], tensors["model.embed_tokens.weight"][seg])
    assert torch.equal(model.new_rows.head[row], tensors["lm_head.weight"][seg])
    assert model.config.ids.search >= len(tensors["lm_head.weight"])


def test_all_that_does_not_fit_is_listed_at_once(tmp_path: Path) -> None:
    def spoil(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        tensors["model.text_hidden_fcs.0.2.bias"] = torch.zeros(3)
        del tensors["model.norm.weight"]
        return tensors

    write_published(tmp_path, "lisa")
    rewrite(tmp_path, spoil)
    with pytest.raises(ValueError, match="2 tensors do not fit") as error:
        convert(options(tmp_path))
    assert "language_model.norm.weight is missing" in str(error.value)
    assert "grounding.projection.2.bias is (3,), here (32,)" in str(error.value)


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    write_published(tmp_path, "lisa")
    rewrite(tmp_path, lambda tensors: tensors | {"model.surprise": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"1 tensors have names .* model\.surprise"):
        convert(options(tmp_path))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(ValueError, match=r"config\.json and the tokenizer's files must lie beside"):
        convert(options(tmp_path))
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / "checkpoint" / name).write_text("{}")
    with pytest.raises(ValueError, match=r"no \*\.safetensors and no \*\.bin files"):
        convert(options(tmp_path))


def test_a_lisa_without_its_clip_is_refused(tmp_path: Path) -> None:
    write_published(tmp_path, "lisa")
    given = options(tmp_path)
    given.clip = None
    with pytest.raises(ValueError, match=r"is published without its CLIP; set clip to the folder"):
        convert(given)


def test_another_model_is_refused(tmp_path: Path) -> None:
    write_published(tmp_path, "lisa")
    rewrite(tmp_path, lambda _: {"encoder.weight": torch.zeros(1)})
    with pytest.raises(
        ValueError, match=r"encoder\.weight\) are not those of a PLUM, a LISA or GLaMM"
    ):
        convert(options(tmp_path))
