import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

from pixsearch.chat import ChatRenderer, Conversation, Grounded, Message, Role, Text
from pixsearch.datasets import refcoco
from pixsearch.datasets.batch import IGNORED, Batch, collate
from pixsearch.datasets.example import Example
from pixsearch.images import SegmenterFrame
from pixsearch.rendering import TokenKind
from pixsearch.tokens import add_special_tokens, find_token_ids
from tests.datasets.builders import save_image
from tests.tiny import tiny_tokenizer

NUM_PATCHES = 4
FRAME = SegmenterFrame(size=32, resolution=16, keeps_ratio=True)


@pytest.fixture(scope="module")
def renderer() -> ChatRenderer:
    tokenizer = tiny_tokenizer()
    add_special_tokens(tokenizer)
    ids = find_token_ids(tokenizer, image_token_id=tokenizer.convert_tokens_to_ids("<image>"))
    return ChatRenderer(tokenizer, ids, num_image_tokens=NUM_PATCHES)


def text_only(words: str = "Osmeth.", id: str = "t") -> Example:
    question = Conversation.question("Where is Tarnwick?", has_image=False)
    answer = Message(role=Role.ASSISTANT, parts=(Text(text=words),))
    conversation = dataclasses.replace(question, messages=(*question.messages, answer))
    return Example(id=id, conversation=conversation)


def batch(examples: list[Example], renderer: ChatRenderer, max_length: int = 400) -> Batch:
    return collate(examples, renderer, max_length=max_length, frame=FRAME)


def test_a_batch_of_rows_with_and_without_images(
    refcoco_root: Path, renderer: ChatRenderer
) -> None:
    first, second = refcoco.load(refcoco_root, "train")
    result = batch([first, text_only(), second, first], renderer)
    assert result.ids == ("7/0", "t", "8/0", "7/0")
    assert result.image_rows.tolist() == [0, -1, 1, 0]
    assert result.image_ids == (first.image_id, second.image_id)
    assert [load().size for load in result.load_images] == [(32, 24)] * 2
    assert [tuple(masks.shape) for masks in result.target_masks] == [
        (3, 16, 16),
        (0, 16, 16),
        (1, 16, 16),
        (3, 16, 16),
    ]
    assert (result.input_ids == renderer.ids.seg).sum(1).tolist() == [3, 0, 1, 3]
    assert (result.input_ids == renderer.ids.image).sum(1).tolist() == [4, 0, 4, 4]


def test_padding_labels_and_kinds_agree(refcoco_root: Path, renderer: ChatRenderer) -> None:
    examples = [text_only(), refcoco.load(refcoco_root, "train")[0]]
    result = batch(examples, renderer)
    for row, example in enumerate(examples):
        rendered = renderer.render(example.conversation)
        length = len(rendered)
        assert result.input_ids[row, :length].tolist() == rendered.input_ids
        assert result.attention_mask[row].sum() == length
        assert result.token_kind[row, :length].tolist() == rendered.token_kind
        assert (result.token_kind[row, length:] == TokenKind.PAD).all()
        assert (result.input_ids[row, length:] == renderer.ids.pad).all()
        assert (result.labels[row, length:] == -100).all()
        assert (result.labels[row] != -100).sum() == sum(rendered.supervised)
    targets = result.labels != -100
    assert (result.labels[targets] == result.input_ids[targets]).all()
    assert (result.token_kind[targets] == TokenKind.GENERATED).all()


def test_target_masks_are_the_masks_in_the_segmenters_square(
    refcoco_root: Path, renderer: ChatRenderer
) -> None:
    example = refcoco.load(refcoco_root, "train")[0]
    (targets,) = batch([example], renderer).target_masks
    assert float(targets[0].sum()) == pytest.approx(example.load_masks()[0].sum() / 4)
    assert not targets[:, 12:].any()  # the padding below an image of 24x32


def test_padding_and_ignored_pixels_weigh_nothing(
    refcoco_root: Path, renderer: ChatRenderer
) -> None:
    example = refcoco.load(refcoco_root, "train")[0]
    (weights,) = batch([example], renderer).mask_weights
    assert (weights[:, :12] == 1).all()
    assert not weights[:, 12:].any()
    upper_half = np.arange(24)[:, None].repeat(32, 1) < 12
    ignoring = dataclasses.replace(example, load_ignore=lambda: upper_half)
    (weights,) = batch([ignoring], renderer).mask_weights
    assert not weights[:, :6].any()
    assert (weights[:, 6:12] == 1).all()


def test_at_the_border_of_the_padding_a_target_is_of_what_is_known(
    refcoco_root: Path, renderer: ChatRenderer
) -> None:
    example = refcoco.load(refcoco_root, "train")[0]
    everything = np.ones((3, 24, 32), dtype=bool)
    below = np.arange(24)[:, None].repeat(32, 1) >= 9  # half of the fifth row of the targets
    one = dataclasses.replace(example, load_masks=lambda: everything, load_ignore=lambda: below)
    result = batch([one], renderer)
    (targets,), (weights,) = result.target_masks, result.mask_weights
    assert ((weights > 0) & (weights < 1)).any()
    assert (targets[weights > 0] == 1).all()
    assert not targets[weights == 0].any()


def test_an_over_long_conversation_names_itself_and_both_lengths(renderer: ChatRenderer) -> None:
    length = len(renderer.render(text_only().conversation))
    batch([text_only()], renderer, max_length=length)
    match = rf"'t' has {length} tokens, more than stage\.max_length={length - 1}"
    with pytest.raises(ValueError, match=match):
        batch([text_only()], renderer, max_length=length - 1)


def test_the_end_of_mere_text_may_be_cut(renderer: ChatRenderer, refcoco_root: Path) -> None:
    def cut(example: Example, max_length: int) -> Batch:
        return collate([example], renderer, max_length=max_length, frame=FRAME, cut=True)

    whole = renderer.render(text_only().conversation)
    result = cut(text_only(), len(whole) - 1)
    assert result.input_ids.tolist() == [whole.input_ids[:-1]]
    assert (result.labels[0] != IGNORED).tolist() == whole.supervised[:-1]
    assert not (cut(text_only(), 2).labels != IGNORED).any()  # not even its question fits
    grounded = refcoco.load(refcoco_root, "train")[0]
    length = len(renderer.render(grounded.conversation))
    with pytest.raises(ValueError, match=r"'7/0' has .* raise it, or shorten or drop"):
        cut(grounded, length - 1)


def test_masks_must_be_as_many_as_phrases(renderer: ChatRenderer) -> None:
    answer = Message(role=Role.ASSISTANT, parts=(Grounded(phrase="the cup"),))
    question = Conversation.question("?", has_image=False)
    conversation = dataclasses.replace(question, messages=(*question.messages, answer))
    without = Example(id="m", conversation=conversation)
    with pytest.raises(ValueError, match="'m' has 1 grounded phrases, but 0 masks"):
        batch([without], renderer)
    both = dataclasses.replace(without, load_masks=lambda: np.zeros((2, 4, 4), dtype=bool))
    with pytest.raises(ValueError, match="'m' has 1 grounded phrases, but 2 masks"):
        batch([both], renderer)


def test_a_conversation_without_its_image_is_named(renderer: ChatRenderer) -> None:
    example = Example(id="i", conversation=Conversation.question("?", has_image=True))
    with pytest.raises(ValueError, match="'i': an image needs has_image, image_id and load_image"):
        batch([example], renderer)


def test_a_missing_image_names_file_and_example(refcoco_root: Path, renderer: ChatRenderer) -> None:
    example = refcoco.load(refcoco_root, "testA")[0]
    Path(example.image_id).unlink()
    (load,) = batch([example], renderer).load_images
    with pytest.raises(ValueError, match=r"000009\.jpg: missing image of example '9/0'"):
        load()


def test_examples_and_batches_cross_processes(
    tmp_path: Path, refcoco_root: Path, renderer: ChatRenderer
) -> None:
    save_image(tmp_path / "a.png")
    result = batch(list(refcoco.load(refcoco_root, "train")), renderer)
    copy = pickle.loads(pickle.dumps(result))
    assert copy.ids == result.ids
    assert copy.load_images[0]().size == (32, 24)


def test_to_moves_every_tensor(refcoco_root: Path, renderer: ChatRenderer) -> None:
    result = batch(list(refcoco.load(refcoco_root, "train")), renderer).to("meta")
    assert result.input_ids.device.type == "meta"
    planes = (*result.target_masks, *result.mask_weights)
    assert {plane.device.type for plane in planes} == {"meta"}
    assert len(result) == 2
