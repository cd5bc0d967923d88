import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixsearch.chat import Conversation
from pixsearch.config import QueryType
from pixsearch.datasets.example import Example
from pixsearch.training.samples import COLOURS, overlay, write_samples


@dataclass(frozen=True, kw_only=True)
class Grounding:
    phrase: str
    mask: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Search:
    type: QueryType
    text: str | None
    failed: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    request_id: str
    all_text: str
    grounded: tuple[Grounding, ...] = ()
    searches: tuple[Search, ...] = ()


LEFT = np.array([[True, False], [True, False]])


def test_a_mask_tints_its_pixels_and_no_others() -> None:
    drawn = np.asarray(overlay(Image.new("RGB", (2, 2), (0, 0, 0)), [LEFT], opacity=1.0))
    assert (drawn[:, 0] == COLOURS[0]).all()
    assert (drawn[:, 1] == 0).all()


def test_samples_are_written_with_and_without_an_image(tmp_path: Path) -> None:
    question = Conversation.question("What is this?", has_image=True)
    examples = [
        Example(
            id="a",
            conversation=question,
            image_id="a",
            load_image=lambda: Image.new("RGB", (2, 2)),
        ),
        Example(id="b", conversation=Conversation.question("Where?", has_image=False)),
    ]
    answers = [
        Answer(
            request_id="a",
            all_text="the cup",
            grounded=(Grounding(phrase="the cup", mask=LEFT),),
            searches=(
                Search(type=QueryType.text, text="cup"),
                Search(type=QueryType.image, text=None, failed="no answer"),
            ),
        ),
        Answer(request_id="b", all_text="I don't know."),
    ]
    write_samples(tmp_path / "step", examples, answers)
    written = (tmp_path / "step" / "samples.jsonl").read_text()
    lines = [json.loads(line) for line in written.splitlines()]
    assert [line["picture"] for line in lines] == ["000.png", None]
    assert lines[0]["searches"] == ["[search text: cup]", "[search image] [failed: no answer]"]
    assert lines[0]["conversation"] == ["user: What is this?"]
    assert (tmp_path / "step" / "000.png").exists()


def test_one_trajectory_per_example_is_demanded(tmp_path: Path) -> None:
    example = Example(id="b", conversation=Conversation.question("Where?", has_image=False))
    with pytest.raises(ValueError, match="1 examples returned 0 trajectories"):
        write_samples(tmp_path, [example], [])
