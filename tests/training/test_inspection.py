"""The page of training data shows what the model is trained on, token by token."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixsearch.config import DatasetOptions, InspectDataOptions, InspectOptions, OnError
from pixsearch.datasets.batch import Batch, collate
from pixsearch.datasets.quarantine import Quarantine, Quarantined
from pixsearch.model.composing import describe_parts
from pixsearch.model.renderer import renderer_of
from pixsearch.training.data import open_training_data
from pixsearch.training.inspection import inspect_data
from pixsearch.training.inspection.draws import draw
from pixsearch.training.inspection.pictures import hatch
from pixsearch.training.inspection.statistics import spread, statistics
from pixsearch.training.inspection.tokens import TokenView
from tests.datasets.builders import HEIGHT, WIDTH, box, save_image
from tests.training.runs import tiny_options


@pytest.fixture
def options(tmp_path: Path) -> InspectDataOptions:
    """24 trajectories, 16 with a square that is searched; the model's folders without weights."""
    run = tiny_options(tmp_path)
    for weights in (tmp_path / "parts").rglob("*.safetensors"):
        weights.unlink()
    inspect = InspectOptions(output=str(tmp_path / "index.html"), num_read=22, num_shown=22)
    return InspectDataOptions(
        model=run.model, stage=run.stage, data=run.data, run=run.run, inspect=inspect
    )


def batch_of(options: InspectDataOptions) -> Batch:
    """What training makes of the 22 that are not held out."""
    mixture = open_training_data(options).mixture
    examples = [mixture[place] for place in range(22)]
    renderer = renderer_of(*describe_parts(options.model))
    return collate(examples, renderer, max_length=512, frame=None)


def rows_of(page: str) -> dict[str, list[list[str]]]:
    """The cells of each table, by the first word of its title."""
    found = {}
    for title, table in re.findall(r"<h2>(\w+).*?</h2><table>(.*?)</table>", page):
        rows = re.findall(r"<tr>(.*?)</tr>", table.split("<tbody>")[1])
        found[title] = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    return found


class References(HTMLParser):
    """What a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def test_every_supervised_token_is_shown_as_one(options: InspectDataOptions) -> None:
    page = inspect_data(options).read_text()
    batch = batch_of(options)
    assert len(re.findall(r'<i class="y', page)) - 1 == int((batch.labels != -100).sum())  # legend
    assert len(re.findall(r"<details>", page)) == 15
    assert page.count("[image: 16 tokens]") == 15


def test_nothing_is_fetched(options: InspectDataOptions) -> None:
    parser = References()
    parser.feed(inspect_data(options).read_text())
    assert len(parser.found) == 15
    assert all(reference.startswith("data:image/jpeg;base64,") for reference in parser.found)
    assert not parser.tags & {"script", "link", "iframe"}


def test_statistics(options: InspectDataOptions) -> None:
    """22 of the 24 are trained on, 7 of them without an image; a square covers a quarter."""
    tables = rows_of(inspect_data(options).read_text())
    assert tables["Examples"] == [["squares", "22", "22", "15", "1 / 1 / 1 / 1", "0", "0"]]
    assert tables["Searches"] == [["squares", "7", "15", "0", "0", "0", "0", "0", "15", "0"]]
    assert tables["Masks"] == [
        ["squares", "0 / 1 / 1 / 1", "25.0 / 25.0 / 25.0 / 25.0", "0"],
    ]
    assert tables["Tokens"][0][2] == "0 / 16 / 16 / 16"


def test_what_is_too_long_is_counted(options: InspectDataOptions) -> None:
    lengths = batch_of(options).attention_mask.sum(dim=1)
    options.stage.max_length = int(lengths.median())
    expected = int((lengths > options.stage.max_length).sum())
    assert 0 < expected < 22
    assert rows_of(inspect_data(options).read_text())["Examples"][0][5] == str(expected)


def change_lines(options: InspectDataOptions, change) -> None:
    path = Path(options.data.sources["squares"].root) / "train.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(change(line)) + "\n" for line in lines))


def test_words_from_outside_are_only_words(options: InspectDataOptions) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=y>"

    def change(line: dict) -> dict:
        line["id"] += attack
        for message in line["messages"]:
            for part in message["parts"]:
                if "grounded" in part:
                    part["grounded"] = attack
                if "search" in part:
                    part["search"]["passages"][0]["text"] = attack
                if "text" in part:
                    part["text"] = attack
        return line

    change_lines(options, change)
    options.data.sources = {f"squares{attack}": options.data.sources["squares"]}
    options.stage.mixture = {f"squares{attack}": 1.0}
    page = inspect_data(options).read_text()
    parser = References()
    parser.feed(page)
    assert "script" not in parser.tags
    assert "x" not in parser.found
    assert "&lt;script&gt;" in page


def test_a_broken_example_is_shown_and_counted(options: InspectDataOptions, caplog) -> None:
    def change(line: dict) -> dict:
        if line["id"] == "square-3":
            line["masks"] = []
        return line

    change_lines(options, change)
    (Path(options.data.sources["squares"].root) / "images" / "4.png").write_bytes(b"no image")
    options.inspect.from_mixture = False
    page = inspect_data(options).read_text()
    assert rows_of(page)["Examples"][0][6] == "1"
    assert "train.jsonl:4: 1 grounded phrases, but 0 masks" in page
    assert "4.png: unreadable image of example" in page
    assert "train.jsonl:4" in caplog.text


def ids(options: InspectDataOptions) -> list[str]:
    return [drawn.load().id for drawn in draw(options)]


def test_at_random_means_by_the_seed_and_each_once(options: InspectDataOptions) -> None:
    options.inspect = replace(options.inspect, from_mixture=False, num_read=10)
    first = ids(options)
    assert ids(options) == first
    assert len(set(first)) == 10
    options.inspect.seed = 1
    assert ids(options) != first


def test_one_dataset_comes_in_the_order_of_the_mixture(
    options: InspectDataOptions, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    save_image(own / "images" / "a.png")
    image = {"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}
    annotations = [
        {"id": 1, "image_id": 1, "phrase": "a cup", "segmentation": box(2, 2, 8, 8)},
        {"id": 2, "image_id": 1, "phrase": "x", "segmentation": box(20, 2, 8, 8), "ignore": 1},
    ]
    (own / "train.json").write_text(json.dumps({"images": [image], "annotations": annotations}))
    options.data.sources["own"] = DatasetOptions(reader="coco_folder", root=str(own))
    options.stage.mixture = {"squares": 3.0, "own": 1.0}
    drawn = [one for one in draw(options) if one.dataset == "squares"]
    mixed = [one.load().id for one in drawn]
    options.inspect.dataset = "squares"
    assert ids(options)[: len(mixed)] == mixed
    options.inspect = replace(options.inspect, dataset="own", num_read=1)
    page = inspect_data(options).read_text()
    assert "hatched" in page
    assert "a cup 8.3%" in page


def test_a_dataset_that_is_not_there_is_named(options: InspectDataOptions) -> None:
    options.inspect.dataset = "circles"
    with pytest.raises(ValueError, match=r"inspect\.dataset=circles: .* there are: squares"):
        draw(options)


def test_pieces_make_up_the_text(options: InspectDataOptions) -> None:
    config, tokenizer = describe_parts(options.model)
    renderer = renderer_of(config, tokenizer)
    view = TokenView(tokenizer, renderer.ids)
    words = "What is the name of the red cup?\n\n  It is the Velmora."
    assert "".join(view.piece(token) for token in renderer.plain_ids(words)).strip() == words
    assert [view.piece(token) for token in renderer.ids.own] == [
        tokenizer.convert_ids_to_tokens(token) for token in renderer.ids.own
    ]


def test_stripes_stay_within_their_region() -> None:
    region = np.zeros((30, 40), dtype=bool)
    region[5:25, 10:30] = True
    drawn = np.asarray(hatch(Image.new("RGB", (40, 30), (90, 90, 90)), region))
    assert (drawn[~region] == 90).all()
    assert {0, 90, 255} == set(np.unique(drawn[region]))


def test_spread_is_of_sorted_values() -> None:
    assert spread([3, 1, 2], digits=1) == "1.0 / 2.0 / 2.9 / 3.0"


def test_masks_are_held_for_the_shown_examples_alone(
    options: InspectDataOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = rows_of(inspect_data(options).read_text())
    holding: list[int] = []

    def count(looked: list, *, max_length: int) -> list:
        holding.append(sum(bool(one.example.load_masks) for one in looked))
        return statistics(looked, max_length=max_length)

    monkeypatch.setattr("pixsearch.training.inspection.inspect.statistics", count)
    options.inspect.num_shown = 2
    assert rows_of(inspect_data(options).read_text()) == tables
    assert holding[0] <= 2


def test_the_list_of_an_earlier_page_is_forgotten(options: InspectDataOptions) -> None:
    options.data.on_error = OnError.quarantine
    listed = Quarantine(Path(options.inspect.output).with_name("quarantine.jsonl"))
    listed.add(Quarantined(dataset="squares", row=0, id=None, reason="mended since"))
    inspect_data(options)
    assert listed.listed() == []
