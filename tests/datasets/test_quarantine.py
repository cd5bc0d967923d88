"""Broken examples: an error that names them, or left out, counted and listed."""

import json
import os
import pickle
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from pixsearch.chat import Conversation
from pixsearch.config import DatasetOptions, OnError
from pixsearch.datasets import open_dataset
from pixsearch.datasets.crag_mm_writer import write_crag_mm
from pixsearch.datasets.example import Example
from pixsearch.datasets.mixture import Mixture, rank_indices
from pixsearch.datasets.quarantine import (
    Quarantine,
    Quarantined,
    UnbrokenExamples,
    check_example,
)
from tests.datasets.builders import save_image
from tests.datasets.test_crag_mm import sessions

ADE = ("ade20k", "ade20k", "training")
OWN = ("coco_folder", "own/masks", "train")


def options(root: Path, source: tuple[str, str, str]) -> DatasetOptions:
    reader, folder, split = source
    return DatasetOptions(reader=reader, root=str(root / folder), split=split)


def unbroken(examples: Sequence, path: Path, name: str = "one") -> UnbrokenExamples:
    rows = range(len(examples))
    return UnbrokenExamples(examples, rows, name=name, quarantine=Quarantine(path))


def read_all(examples: Sequence) -> None:
    for example in examples:
        check_example(example)


def edit(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def without_image(root: Path) -> None:
    (root / "ade20k/images/training/ADE_train_00000001.jpg").unlink()


def truncated_image(root: Path) -> None:
    path = root / "ade20k/images/training/ADE_train_00000001.jpg"
    path.write_bytes(path.read_bytes()[:100])


def other_size(root: Path) -> None:
    path = root / "ade20k/annotations/training/ADE_train_00000001.png"
    Image.fromarray(np.full((9, 9), 3, dtype=np.uint8)).save(path)


def unknown_label(root: Path) -> None:
    path = root / "ade20k/annotations/training/ADE_train_00000001.png"
    labels = np.array(Image.open(path))
    labels[0, 0] = 151
    Image.fromarray(labels).save(path)


def colours_for_labels(root: Path) -> None:
    save_image(root / "ade20k/annotations/training/ADE_train_00000001.png")


def other_run_lengths(root: Path) -> None:
    edit(
        root / "own/masks/train.json",
        lambda content: content["annotations"][0].update(
            segmentation={"size": [9, 9], "counts": [81]}
        ),
    )


def same_image_twice(root: Path) -> None:
    edit(root / "own/masks/train.json", lambda each: each["images"].append(each["images"][0]))


def same_annotation_twice(root: Path) -> None:
    path = root / "own/masks/train.json"
    edit(path, lambda each: each["annotations"].append(each["annotations"][0]))


def unknown_category(root: Path) -> None:
    path = root / "own/masks/train.json"
    edit(path, lambda each: each["annotations"][0].update(category_id=77))


def edit_first(root: Path, kind: str, **fields: object) -> None:
    """Of an annotation or image of one's own file; a field that is "absent" is taken out."""

    def change(content: dict) -> None:
        first = content[kind][0] | fields
        content[kind][0] = {name: each for name, each in first.items() if each != "absent"}

    edit(root / "own/masks/train.json", change)


def no_height(root: Path) -> None:
    edit_first(root, "images", height="absent")


def height_in_words(root: Path) -> None:
    edit_first(root, "images", height="24")


def flat_polygon(root: Path) -> None:
    edit_first(root, "annotations", segmentation=[1, 1, 9, 1, 9, 9])


def no_segmentation(root: Path) -> None:
    edit_first(root, "annotations", segmentation=None)


def polygon_of_words(root: Path) -> None:
    edit_first(root, "annotations", segmentation=[[1, 1, 9, 1, 9, "x"]])


def no_rle_size(root: Path) -> None:
    edit_first(root, "annotations", segmentation={"counts": [24 * 32]})


def negative_run(root: Path) -> None:
    edit_first(root, "annotations", segmentation={"size": [24, 32], "counts": [-1, 769]})


def no_runs(root: Path) -> None:
    edit_first(root, "annotations", segmentation={"size": [24, 32], "counts": ""})


def phrase_of_numbers(root: Path) -> None:
    edit_first(root, "annotations", phrase=7)


def no_target(root: Path) -> None:
    path = root / "reason_seg/ReasonSeg/train/100_1.json"
    edit(path, lambda each: [shape.update(label="ignore") for shape in each["shapes"]])


def no_query(root: Path) -> None:
    path = root / "reason_seg/ReasonSeg/train/100_1.json"
    edit(path, lambda each: each.update(text=[" "]))


def no_json(root: Path) -> None:
    (root / "reason_seg/ReasonSeg/train/100_1.json").write_text("{")


def no_json_line(root: Path) -> None:
    question = {"role": "user", "parts": [{"text": "Who?"}]}
    answer = {"role": "assistant", "parts": [{"text": "Me."}]}
    whole = {"id": "a", "image": None, "messages": [question, answer], "masks": []}
    (root / "lines").mkdir()
    (root / "lines" / "train.jsonl").write_text(f"{json.dumps(whole)}\n{{oops\n")


def masks_without_a_size(root: Path) -> None:
    no_json_line(root)
    path = root / "lines" / "train.jsonl"
    line = json.loads(path.read_text().splitlines()[0]) | {"masks": [{"size": 24, "counts": "x"}]}
    path.write_text(json.dumps(line) + "\n")


def same_id_twice(root: Path) -> None:
    no_json_line(root)
    path = root / "lines" / "train.jsonl"
    path.write_text((path.read_text().splitlines()[0] + "\n") * 2)


def same_session_twice(root: Path) -> None:
    (root / "sessions").mkdir()
    for shard, ids in enumerate(("ade", "d")):
        chosen = [each for each in sessions() if each.session_id in ids]
        write_crag_mm(chosen, root / "sessions" / f"validation-{shard}.parquet")


def same_instance_twice(root: Path) -> None:
    path = root / "refer_seg/refcoco/instances.json"
    edit(path, lambda each: each["annotations"].append(each["annotations"][0]))


def no_instance(root: Path) -> None:
    edit(root / "refer_seg/refcoco/instances.json", lambda each: each["annotations"].pop(1))


def no_instance_height(root: Path) -> None:
    path = root / "refer_seg/refcoco/instances.json"
    edit(path, lambda each: each["images"][1].pop("height"))


def masks_of_nothing(root: Path) -> None:
    no_json_line(root)
    path = root / "lines" / "train.jsonl"
    path.write_text(path.read_text().splitlines()[0].replace("[]", "null") + "\n")


SESSIONS = ("crag_mm", "sessions", "validation")
REFERENCES = ("refcoco", "refer_seg/refcoco", "train")
TEST_REFERENCES = ("refcoco", "refer_seg/refcoco", "testA")
REASONS = ("reason_seg", "reason_seg/ReasonSeg", "train")
LINES = ("trajectories", "lines", "train")


def names(value: object) -> str:
    return getattr(value, "__name__", "")


FAULTS = [
    (ADE, without_image, r"00000001\.jpg: missing image of example 'ADE_train_00000001/0'"),
    (ADE, truncated_image, r"00000001\.jpg: unreadable image .* fetch it again"),
    (ADE, other_size, r"image of 24x32 .* was annotated at 9x9: fetch the images"),
    (ADE, unknown_label, r"00000001\.png: label 151 is no class of this data set"),
    (ADE, colours_for_labels, r"00000001\.png: a picture of mode RGB, not one 8-bit label"),
    (OWN, other_run_lengths, r"example '1/0': the RLE is 9x9, the image 24x32"),
    (OWN, same_image_twice, r"train\.json: image 1 occurs twice; keep one"),
    (OWN, same_annotation_twice, r"train\.json: annotation 0 occurs twice; keep one"),
    (OWN, unknown_category, r"annotation 0 has neither a phrase nor a known category"),
    (OWN, no_height, r"train\.json: an image: lacks height; add it there"),
    (OWN, height_in_words, r"train\.json: image 1: its height is '24', not pixels"),
    (OWN, flat_polygon, r"example '1/0': a polygon is 1, not a list of coordinates"),
    (OWN, no_segmentation, r"example '1/0': a segmentation .*: a NoneType, not an object"),
    (OWN, polygon_of_words, r"example '1/0': a polygon has coordinates that are no finite"),
    (OWN, no_rle_size, r"example '1/0': a segmentation .*: lacks size"),
    (OWN, negative_run, r"example '1/0': the RLE's counts are not all whole numbers"),
    (OWN, no_runs, r"example '1/0': the RLE's counts are '', neither"),
    (OWN, phrase_of_numbers, r"train\.json: annotation 0: its phrase is 7, not a text"),
    (REASONS, no_target, r"100_1\.json: no shape with the label 'target'"),
    (REASONS, no_query, r"100_1\.json: a query without words"),
    (REASONS, no_json, r"100_1\.json: not JSON"),
    (LINES, masks_without_a_size, r"train\.jsonl:1: a mask's size is 24, not \[height, width\]"),
    (LINES, masks_of_nothing, r"train\.jsonl:1: its masks are a NoneType, not a list"),
    (LINES, same_id_twice, r"train\.jsonl:2: has the id of .*train\.jsonl:1 again; take one out"),
    (SESSIONS, same_session_twice, r"sessions, validation: session 'd' occurs twice"),
    (REFERENCES, same_instance_twice, r"instances\.json: annotation 0 occurs twice; keep one"),
    (REFERENCES, no_instance, r"instances\.json: annotation 1 of reference 1 is not in it"),
    (TEST_REFERENCES, no_instance_height, r"instances\.json: image 9: lacks height; add it there"),
    (LINES, no_json_line, r"train\.jsonl:2: not JSON .* mend the line"),
]


@pytest.mark.parametrize(("source", "spoil", "reason"), FAULTS, ids=names)
def test_a_broken_example_is_an_error(
    official: Path, source: tuple[str, str, str], spoil: Callable, reason: str
) -> None:
    spoil(official)
    with pytest.raises(ValueError, match=reason) as error:
        read_all(open_dataset(options(official, source)))
    assert "\n" not in str(error.value)


class Followed(Sequence):
    """A dataset with one more example that is whole."""

    def __init__(self, dataset: Sequence) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset) + 1

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        if index < len(self.dataset):
            return self.dataset[index]
        return Example(id="last", conversation=Conversation.question("?", has_image=False))


@pytest.mark.parametrize(("source", "spoil", "reason"), FAULTS, ids=names)
def test_or_it_is_left_out_and_listed(
    official: Path, source: tuple[str, str, str], spoil: Callable, reason: str
) -> None:
    spoil(official)
    dataset = Followed(open_dataset(options(official, source), on_error=OnError.quarantine))
    examples = unbroken(dataset, official / "list")
    read_all([examples[row] for row in range(len(examples))])
    (listed,) = Quarantine(official / "list").listed()
    assert re.search(reason, listed.reason)


def test_a_failure_that_passes_is_not_remembered(official: Path) -> None:
    """As of a disk that does not answer for a while: the file itself is what it was."""
    path = official / "ade20k/annotations/training/ADE_train_00000001.png"
    whole, status = path.read_bytes(), path.stat()

    def write(content: bytes) -> None:
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    write(bytes(len(whole)))
    with pytest.raises(ValueError, match="unreadable label map"):
        open_dataset(options(official, ADE))
    write(whole)
    assert len(open_dataset(options(official, ADE))) == 2


def test_the_next_whole_example_stands_in(official: Path, tmp_path: Path) -> None:
    without_image(official)
    path = tmp_path / "run" / "quarantine.jsonl"
    examples = unbroken(open_dataset(options(official, ADE)), path)
    assert [example.id for example in examples] == ["ADE_train_00000002/0"] * 2
    assert [example.id for example in examples.usable(range(2))] == ["ADE_train_00000002/0"]
    (line,) = path.read_text().splitlines()
    assert json.loads(line) == {
        "dataset": "one",
        "row": 0,
        "id": "ADE_train_00000001/0",
        "reason": f"{official}/ade20k/images/training/ADE_train_00000001.jpg: missing image of "
        "example 'ADE_train_00000001/0'; data/README.md says what goes where",
    }


def test_all_that_is_left_out_is_counted(official: Path, caplog) -> None:
    without_image(official)
    unknown_label(official)
    quarantine = Quarantine(official / "list")
    for row in (3, 4, 3):
        quarantine.add(Quarantined(dataset="one", row=row, id=None, reason="why"))
    quarantine.add(Quarantined(dataset="two", row=3, id="x", reason="why"))
    quarantine.report()
    assert [(each.dataset, each.row) for each in quarantine.listed()] == [
        *(("one", 3), ("one", 4), ("two", 3))
    ]
    assert "one: 2 broken examples were left out" in caplog.text
    quarantine.clear()
    assert quarantine.listed() == []


def test_a_data_set_of_broken_examples_is_an_error(official: Path, tmp_path: Path) -> None:
    for image in (official / "ade20k/images/training").glob("*.jpg"):
        image.unlink()
    examples = unbroken(open_dataset(options(official, ADE)), tmp_path / "list", "ade")
    with pytest.raises(ValueError, match=r"data\.sources\.ade: 2 examples in a row are broken"):
        examples[1]


class Numbered(Sequence):
    """Text examples of which some cannot be built, as a broken line cannot."""

    def __init__(self, length: int, broken: set[int]) -> None:
        self.length, self.broken = length, broken

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, row: int) -> Example:  # type: ignore[override]
        if row in self.broken:
            raise ValueError(f"line {row + 1}: not JSON")
        return Example(id=str(row), conversation=Conversation.question("?", has_image=False))


def mixture(path: Path, *, by_image: bool = False) -> Mixture:
    """Two datasets, 7 to 9, with broken rows."""
    datasets = {
        "a": unbroken(Numbered(10, {2, 3, 9}), path, "a"),
        "b": unbroken(Numbered(7, {0}), path, "b"),
    }
    return Mixture(datasets, {"a": 7.0, "b": 9.0}, seed=3, by_image=by_image)


@pytest.mark.parametrize("by_image", [False, True])
def test_a_draw_hangs_on_no_other(tmp_path: Path, by_image: bool) -> None:
    """Whoever draws it, and whatever was drawn before: the same example."""
    walked = mixture(tmp_path / "list", by_image=by_image)
    order = [walked[index].id for index in range(64)]
    assert not {"2", "3"} & {order[i] for i in range(64) if walked.locate(i).dataset == "a"}
    jumped = mixture(tmp_path / "other", by_image=by_image)
    assert [jumped[index].id for index in range(48, 64)] == order[48:]
    copied = pickle.loads(pickle.dumps(mixture(tmp_path / "third", by_image=by_image)))
    shared = [
        [copied[index].id for index in islice(rank_indices(0, rank=rank, num_ranks=4), 16)]
        for rank in range(4)
    ]
    assert [id for step in zip(*shared, strict=True) for id in step] == order


def test_workers_agree_and_list_each_example_once(tmp_path: Path) -> None:
    path = tmp_path / "list"
    loader = DataLoader(
        mixture(path),  # type: ignore[arg-type]
        batch_size=4,
        sampler=range(64),
        num_workers=2,
        collate_fn=lambda batch: [example.id for example in batch],
    )
    drawn = [id for batch in loader for id in batch]
    alone = mixture(tmp_path / "other")
    assert drawn == [alone[index].id for index in range(64)]
    listed = [(each.dataset, each.row) for each in Quarantine(path).listed()]
    assert sorted(listed) == [("a", 2), ("a", 3), ("a", 9), ("b", 0)]


def test_many_writers_list_each_example_once(tmp_path: Path) -> None:
    path = tmp_path / "list"

    def write(writer: int) -> None:
        for row in range(20):
            found = Quarantined(dataset="one", row=row, id=None, reason=f"by {writer}")
            Quarantine(path).add(found)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    assert sorted(each.row for each in Quarantine(path).listed()) == list(range(20))


def test_an_image_is_known_without_decoding(official: Path, tmp_path: Path) -> None:
    examples = unbroken(open_dataset(options(official, ADE)), tmp_path / "list")
    without_image(official)
    assert [examples.image_id(row) is None for row in (0, 1)] == [False, False]
    assert not (tmp_path / "list").exists()


@pytest.mark.parametrize("source", [ADE, OWN])
def test_masks_of_another_number_or_size_are_broken(official: Path, source: tuple) -> None:
    example = open_dataset(options(official, source))[0]
    mask = np.zeros((1, 9, 9), dtype=bool)
    for masks, reason in ((mask, "grounded phrases, but 1 masks"), (mask[[0, 0]], "mask of 9x9")):
        with pytest.raises(ValueError, match=reason):
            check_example(replace(example, load_masks=lambda masks=masks: masks))
