"""A converted PLUM tags, prompts and masks as the published code does."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pixsearch.chat import Conversation, Grounded, Message, Role, Text
from pixsearch.config import GroundBy
from pixsearch.model import PixSearch
from pixsearch.model.published.convert import convert
from pixsearch.model.span_tagger import spans_of
from pixsearch.rendering import SpanTag
from tests.model.examples import picture
from tests.parity.plain_plum import PlainPlum
from tests.parity.published import (
    CHANNELS,
    QUESTION,
    TAGGER_HEADS,
    TAGGER_INNER,
    collapsed,
    options,
    plain_model,
    pooler_aliases,
    rewrite,
    with_adapters,
    write_published,
)

TOLERANCE = 1e-4  # fp32
IMAGE = picture(0, width=60, height=40)
MASKS = 6  # rounding grows along the chain; PLUM's conversations have up to five
POOLER = "mask_pooler."


def answered() -> Conversation:
    question = Message(role=Role.USER, parts=(Text(text=QUESTION),))
    answer = Message(role=Role.ASSISTANT, parts=(Grounded(phrase="Sure, it is"), Text(text=".")))
    return Conversation(messages=(question, answer), has_image=True)


def without_pooler(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: one for name, one in tensors.items() if not name.startswith(POOLER)}


@pytest.mark.parametrize("feedback", [True, False], ids=["feedback", "without"])
@torch.no_grad()
def test_a_converted_plum_computes_the_published_arithmetic(tmp_path: Path, feedback: bool) -> None:
    """The sequence ends before </s>, as that of PLUM's `evaluate` does.

    PLUM's tagger looks at the whole sequence; ours at what stands before the next search or the end
    of the answer, which is all of it here.
    """
    plain = plain_model(tmp_path, "plum", write_published(tmp_path, "plum"), PlainPlum)
    if not feedback:
        rewrite(tmp_path, without_pooler)
    convert(options(tmp_path)).model.save_pretrained(tmp_path / "converted")
    model = PixSearch.from_pretrained(tmp_path / "converted").eval()
    assert model.config.mask_feedback is feedback

    ids = model.renderer.render(answered()).input_ids
    assert ids[-1] == model.config.ids.end
    ids = ids[:-1]
    prompt = model.renderer.render_prompt(Conversation.question(QUESTION, has_image=True)).input_ids
    places = collapsed(ids, model.config.ids.image)
    assert plain.prompt_ids(QUESTION) == collapsed(prompt, model.config.ids.image)
    assert plain.prompt_ids(QUESTION) == places[: len(plain.prompt_ids(QUESTION))]

    features, input_ids = model.encode_image([IMAGE]), torch.tensor([ids])
    states = model.language_states(model.embed(input_ids, features, torch.tensor([0])))
    expected, _ = plain.states(places, IMAGE)
    close(states[0], expected)
    published = plain.logits(expected)
    close(model.next_logits(states)[0, :, : published.shape[1]], published)

    tag_logits = model.grounding.tag(states, input_ids, torch.zeros_like(input_ids))[0]
    close(tag_logits, plain.tag_logits(expected, TAGGER_HEADS))
    spans = plain.spans(plain.tag_logits(expected, TAGGER_HEADS))
    assert spans_of(tag_logits.argmax(dim=-1).tolist()) == [(one[0], one[-1] + 1) for one in spans]
    assert max(map(len, spans[:MASKS])) > 1

    spans = spans[:MASKS]
    grounded = model.grounding.find(states, input_ids, tags_of(spans, len(ids))[None])
    prompts = model.grounding(grounded.states, grounded.phrases, len(grounded.rows))
    expected_prompts = plain.span_prompts(expected, spans)
    close(prompts, expected_prompts)
    seen = features.segmenter.index([0] * len(spans))
    masks = model.decode_conversations([0] * len(spans), prompts, seen)
    expected_masks = plain.span_masks(expected_prompts, IMAGE, feedback=feedback)
    assert expected_masks.abs().max() > 0.1
    close(masks, expected_masks)
    if feedback:
        alone = plain.span_masks(expected_prompts, IMAGE, feedback=False)
        assert (alone[1:] - expected_masks[1:]).abs().max() > 0.1


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=0)


def tags_of(spans: list[list[int]], length: int) -> Tensor:
    tags = torch.full((length,), int(SpanTag.OUTSIDE))
    for first, *others in spans:
        tags[first] = int(SpanTag.BEGIN)
        tags[others] = int(SpanTag.INSIDE)
    return tags


def test_all_tokens_of_ours_are_new(tmp_path: Path) -> None:
    tensors = write_published(tmp_path, "plum")
    model = convert(options(tmp_path)).model
    head = tensors["lm_head.weight"]
    assert "[SEG]" not in model.tokenizer.get_vocab()
    assert model.config.ids.own == tuple(range(len(head) + 1, len(head) + 8))  # behind <image>
    torch.testing.assert_close(model.new_rows.head, head.mean(dim=0).repeat(7, 1))
    assert model.config.ground_by == GroundBy.span
    assert (model.config.tagger_heads, model.config.tagger_width) == (TAGGER_HEADS, TAGGER_INNER)


def as_bin(folder: Path) -> None:
    """In two torch files, as the merge script and zero_to_fp32.py write them."""

    def split(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        names = sorted(tensors)
        for shard, part in enumerate((names[::2], names[1::2])):
            file = folder / "checkpoint" / f"pytorch_model-{shard}.bin"
            torch.save({name: tensors[name] for name in part}, file)
        return {}

    rewrite(folder, split)
    (folder / "checkpoint" / "model.safetensors").unlink()


def with_first_names_lost(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """safetensors keeps one name of a tensor, and it may be the second."""
    lost = set(pooler_aliases().values())
    kept = {name: one for name, one in tensors.items() if name not in lost}
    return {name: one for name, one in kept.items() if not re.match(r"mask_pooler\.block", name)}


FORMS: dict[str, Callable[[Path], None]] = {
    "adapters": lambda folder: rewrite(folder, with_adapters),
    "bin": as_bin,
    "second names": lambda folder: rewrite(folder, with_first_names_lost),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_model(tmp_path: Path, form: str) -> None:
    for name in ("merged", form):
        write_published(tmp_path / name, "plum")
    FORMS[form](tmp_path / form)
    merged, other = (
        convert(options(tmp_path / name)).model.state_dict() for name in ("merged", form)
    )
    assert merged.keys() == other.keys()
    for name, tensor in merged.items():
        torch.testing.assert_close(other[name], tensor, atol=TOLERANCE, rtol=0)


def test_what_is_not_used_is_reported(tmp_path: Path) -> None:
    write_published(tmp_path, "plum")
    junk = {"seg_h_ref": torch.zeros(1, 2, 3), "teacher_llm.norm.weight": torch.ones(2)}
    rewrite(tmp_path, lambda tensors: tensors | junk)
    dropped = convert(options(tmp_path)).dropped
    names = {name for group in dropped.values() for name in group}
    assert names >= {*junk, *pooler_aliases()}
    assert len(pooler_aliases()) == 27


def test_feedback_can_be_left_out(tmp_path: Path) -> None:
    write_published(tmp_path, "plum")
    given = options(tmp_path)
    given.mask_feedback = False
    model = convert(given).model
    assert model.grounding.feedback is None
    assert not model.config.mask_feedback


REFUSED: dict[str, tuple[dict[str, Tensor], str]] = {
    "another copy": (
        {"mask_pooler.final_conv.bias": torch.zeros(CHANNELS)},
        r"1 tensors differ from those of SAM's .* \(such as mask_pooler\.final_conv\.bias\)",
    ),
    "binary": ({"model.token_to_mask_fcs.0.2.weight": torch.zeros(1, 32)}, "--pred_binary_span"),
    "cross attention": ({"bio_cross_attn.norm_ffn.bias": torch.zeros(1)}, "--use_cross_attn_bio"),
    "a second layer": (
        {"bio_encoder.encoder.layers.1.norm1.bias": torch.zeros(1)},
        "1 tensors have names that no published checkpoint of PLUM has",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_in_a_line(tmp_path: Path, case: str) -> None:
    changed, message = REFUSED[case]
    write_published(tmp_path, "plum")
    rewrite(tmp_path, lambda tensors: tensors | changed)
    with pytest.raises(ValueError, match=message) as error:
        convert(options(tmp_path))
    assert "\n" not in str(error.value)


def test_a_head_without_a_tagger_is_refused(tmp_path: Path) -> None:
    write_published(tmp_path, "plum")
    rewrite(
        tmp_path, lambda all: {name: one for name, one in all.items() if "bio_encoder" not in name}
    )
    with pytest.raises(ValueError, match="those trained with --use_bidir_bio"):
        convert(options(tmp_path))


def test_heads_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_published(tmp_path, "plum")
    given = options(tmp_path)
    given.tagger_heads = 5
    with pytest.raises(ValueError, match="tagger_heads=5: the tagger's width of 32 is no multiple"):
        convert(given)
