import json
from pathlib import Path

import pytest

from pixsearch.chat import Role
from pixsearch.datasets import llava
from tests.datasets.builders import save_image


def turn(speaker: str, value: str) -> dict[str, str]:
    return {"from": speaker, "value": value}


def write(root: Path, items: object) -> Path:
    (root / "train.json").write_text(json.dumps(items))
    return root


def test_items_with_and_without_an_image_are_read(tmp_path: Path) -> None:
    save_image(tmp_path / "coco" / "1.jpg")
    asked = [turn("human", "<image>\nWhat is it?"), turn("gpt", "A cup.")]
    plain = [turn("human", "What does <image> mean in HTML?"), turn("gpt", "Nothing.")]
    items = [
        {"id": "1", "image": "coco/1.jpg", "conversations": asked},
        {"id": "1", "conversations": plain},
    ]
    with_image, text_only = llava.load(write(tmp_path, items), "train")
    assert [with_image.id, text_only.id] == ["0/1", "1/1"]
    assert with_image.conversation.messages[0].parts[0].text == "What is it?"
    assert with_image.load_image().size == (32, 24)
    assert with_image.conversation.has_image
    assert text_only.conversation.messages[0].parts[0].text == "What does <image> mean in HTML?"
    assert text_only.load_image is None
    assert not text_only.conversation.has_image


def test_shared_chats_are_cut_to_whole_turns(tmp_path: Path) -> None:
    chat = [turn("gpt", "…ending"), turn("human", "Q"), turn("gpt", "A"), turn("human", "and?")]
    (example,) = llava.load(write(tmp_path, [{"id": "s", "conversations": chat}]), "train")
    assert [message.role for message in example.conversation.messages] == [
        Role.USER,
        Role.ASSISTANT,
    ]


@pytest.mark.parametrize(
    ("conversation", "reason"),
    [
        ([turn("human", "a"), turn("human", "b"), turn("gpt", "c")], "must take turns"),
        ([turn("system", "a")], "from 'system'"),
        ([], "must take turns"),
        ([{"from": "gpt"}], "lacks value"),
    ],
)
def test_broken_items_are_named(tmp_path: Path, conversation: list, reason: str) -> None:
    examples = llava.load(write(tmp_path, [{"id": "x", "conversations": conversation}]), "train")
    with pytest.raises(ValueError, match=f"item 0: .*{reason}"):
        examples[0]


def test_a_missing_image_names_file_and_example(tmp_path: Path) -> None:
    chat = [turn("human", "<image>"), turn("gpt", "A")]
    items = [{"id": "x", "image": "no.jpg", "conversations": chat}]
    (example,) = llava.load(write(tmp_path, items), "train")
    with pytest.raises(ValueError, match=r"no\.jpg: missing image of example '0/x'; data/README"):
        example.load_image()


def test_a_file_that_is_no_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a dict, not the list"):
        llava.load(write(tmp_path, {}), "train")
