import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pytest

from pixsearch.chat import Conversation
from pixsearch.config import DatasetOptions, TrainOptions
from pixsearch.datasets.example import Example
from pixsearch.datasets.quarantine import Quarantine
from pixsearch.datasets.subset import SomeExamples
from pixsearch.training.data import hold_back, open_training_data
from tests.training.runs import tiny_options


def dataset(image_ids: Sequence[str | None]) -> SomeExamples:
    question = Conversation.question("What is this?", has_image=True)
    examples = [
        Example(id=str(index), conversation=question, image_id=image_id)
        for index, image_id in enumerate(image_ids)
    ]
    return SomeExamples(examples, range(len(examples)))


@pytest.mark.parametrize(
    ("image_ids", "left_out"),
    [
        ([f"image-{index}" for index in range(40)], []),
        ([None] * 40, []),
        ([f"image-{index // 4}" for index in range(40)], [36, 37]),  # four examples per image
        ([f"image-{index % 20}" for index in range(40)], [18, 19]),  # each image again, far off
    ],
)
def test_no_image_is_both_trained_on_and_held_out(
    image_ids: list[str | None], left_out: list[int]
) -> None:
    kept, back = hold_back(dataset(image_ids), 2, name="squares")
    assert [example.id for example in back] == ["38", "39"]
    expected = [str(row) for row in range(38) if row not in left_out]
    assert [example.id for example in kept] == expected


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_to_keep_any_back(count: int) -> None:
    kept, back = hold_back(dataset([str(index) for index in range(count)]), 2, name="squares")
    assert (len(kept), back) == (count, [])


def test_one_image_cannot_be_held_out_and_trained_on() -> None:
    with pytest.raises(
        ValueError, match=r"data\.sources\.squares: every example .* run\.held_out=0"
    ):
        hold_back(dataset(["the image"] * 20), 2, name="squares")


def test_what_is_held_out_is_not_drawn(tmp_path) -> None:
    data = open_training_data(tiny_options(tmp_path))
    drawn = {data.mixture[index].id for index in range(60)}
    assert len(drawn) == 22
    assert not drawn & {example.id for example in data.held_out}
    assert len(data.held_out) == 2


def test_the_examples_of_an_image_come_together_if_the_stage_asks(tmp_path) -> None:
    options = tiny_options(tmp_path, by_image=True)
    options.run.held_out = 0
    file = Path(options.data.sources["squares"].root) / "train.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    shared = {line["id"]: f"{row % 4 * 3}.png" for row, line in enumerate(lines) if line["image"]}
    lines = [line | {"image": shared.get(line["id"])} for line in lines]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    mixture = open_training_data(options).mixture
    drawn = [mixture[place].image_id for place in range(24)]
    seen = [image_id for image_id in drawn if image_id is not None]
    assert len(set(seen)) < len(seen)
    assert len(list(groupby(seen))) == len(set(seen))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mixture": {"circles": 1.0}}, "no dataset 'circles'"),
        ({"reader": "morse"}, "no reader 'morse'"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, change: dict, message: str) -> None:
    options: TrainOptions = tiny_options(tmp_path)
    options.stage.mixture = change.get("mixture", options.stage.mixture)
    reader = change.get("reader", "trajectories")
    root = options.data.sources["squares"].root
    options.data.sources["squares"] = DatasetOptions(reader=reader, root=root)
    with pytest.raises(ValueError, match=message):
        open_training_data(options)


def spoil(options: TrainOptions, *, line: int, picture: str) -> None:
    """A line that is no JSON, and a picture that is cut."""
    root = Path(options.data.sources["squares"].root)
    lines = (root / "train.jsonl").read_text().splitlines()
    lines[line] = "{oops"
    (root / "train.jsonl").write_text("".join(f"{each}\n" for each in lines))
    path = root / "images" / picture
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize("by_image", [False, True])
def test_broken_examples_are_left_out_of_mixture_and_held_out(tmp_path, by_image: bool) -> None:
    options = tiny_options(tmp_path, by_image=by_image)
    spoil(options, line=3, picture="22.png")  # row 22 is one of the two at the end
    with pytest.raises(ValueError, match=r"train\.jsonl:4: not JSON|22\.png: unreadable"):
        [open_training_data(options).mixture[index] for index in range(60)]
    quarantine = Quarantine(tmp_path / "run" / "quarantine.jsonl")
    data = open_training_data(options, quarantine)
    assert [example.id for example in data.held_out] == ["words-23"]
    drawn = [data.mixture[index].id for index in range(22)]
    rows = (int(id.split("-")[1]) for id in set(drawn))
    assert sorted(rows) == [row for row in range(22) if row != 3]
    assert [data.mixture.image_id(index) is None for index in range(22)].count(True) == 8
    assert {(each.row, each.id) for each in quarantine.listed()} == {(3, None), (22, "square-22")}
