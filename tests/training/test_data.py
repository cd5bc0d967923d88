from collections.abc import Sequence

import pytest

from pixsearch.chat import Conversation
from pixsearch.config import DatasetOptions, TrainOptions
from pixsearch.datasets.example import Example
from pixsearch.training.data import held_out_boundary, open_training_data
from tests.training.runs import tiny_options


def dataset(image_ids: Sequence[str | None]) -> list[Example]:
    question = Conversation.question("What is this?", has_image=True)
    return [
        Example(id=str(index), conversation=question, image_id=image_id)
        for index, image_id in enumerate(image_ids)
    ]


@pytest.mark.parametrize(
    ("image_ids", "boundary"),
    [
        ([f"image-{index}" for index in range(40)], 38),
        ([None] * 40, 38),
        ([f"image-{index // 4}" for index in range(40)], 36),  # four examples per image
        (["a", "b", "c"], 3),  # too few to keep any back
        ([], 0),
    ],
)
def test_images_are_not_torn_between_training_and_held_out(
    image_ids: list[str | None], boundary: int
) -> None:
    assert held_out_boundary(dataset(image_ids), 2) == boundary


def test_what_is_held_out_is_not_drawn(tmp_path) -> None:
    data = open_training_data(tiny_options(tmp_path))
    drawn = {data.mixture[index].id for index in range(60)}
    assert len(drawn) == 22
    assert not drawn & {example.id for example in data.held_out}
    assert len(data.held_out) == 2


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
    options.data["squares"] = DatasetOptions(reader=reader, root=options.data["squares"].root)
    with pytest.raises(ValueError, match=message):
        open_training_data(options)
