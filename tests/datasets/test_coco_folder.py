import json
from pathlib import Path

import pytest

from pixsearch.config import DatasetOptions
from pixsearch.datasets import coco_folder, open_dataset
from pixsearch.datasets.grammar import grounded_phrases
from pixsearch.datasets.grounding import PHRASES_PER_EXAMPLE
from tests.datasets.builders import box, save_image


def write(root: Path, annotations: list[dict], **changes: object) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 24, "width": 32}],
        "categories": [{"id": 5, "name": "screw"}],
        "annotations": [{"id": place, "image_id": 1, **a} for place, a in enumerate(annotations)],
    }
    save_image(root / "images" / "a.png")
    (root / "train.json").write_text(json.dumps(content | changes))


def test_phrases_come_from_the_field_or_the_category_and_are_united(tmp_path: Path) -> None:
    annotations = [
        {"category_id": 5, "segmentation": box(0, 0, 4, 4)},
        {"phrase": "the rusty nut", "category_id": 5, "segmentation": box(10, 10, 2, 2)},
        {"category_id": 5, "segmentation": box(20, 0, 4, 4)},
    ]
    write(tmp_path, annotations)
    (example,) = coco_folder.load(tmp_path, "train")
    assert grounded_phrases(example.conversation) == ["screw", "the rusty nut"]
    assert example.load_masks().sum(axis=(1, 2)).tolist() == [32, 4]
    assert example.load_image().size == (32, 24)
    assert example.load_ignore is None


def test_crowd_regions_are_ignored_regions(tmp_path: Path) -> None:
    crowd = {"category_id": 5, "segmentation": box(0, 0, 2, 2), "iscrowd": 1}
    write(tmp_path, [{"category_id": 5, "segmentation": box(8, 8, 3, 3)}, crowd])
    (example,) = coco_folder.load(tmp_path, "train")
    assert example.load_ignore().sum() == 4
    assert example.load_masks().sum() == 9


def test_many_phrases_become_several_examples_of_one_image(tmp_path: Path) -> None:
    count = PHRASES_PER_EXAMPLE + 2
    write(tmp_path, [{"phrase": f"p{i}", "segmentation": box(i, 0, 1, 1)} for i in range(count)])
    examples = coco_folder.load(tmp_path, "train")
    assert [example.id for example in examples] == ["1/0", "1/1"]
    assert [len(example.load_masks()) for example in examples] == [PHRASES_PER_EXAMPLE, 2]
    assert examples[0].image_id == examples[1].image_id


def test_an_image_without_phrases_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, [])
    assert len(coco_folder.load(tmp_path, "train")) == 0


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"segmentation": []}, "neither a phrase nor a known category"),
        ({"phrase": "x", "segmentation": [], "image_id": 9}, "image 9, which the file does not"),
        ({"phrase": "x"}, "an annotation: lacks segmentation; add it there"),
    ],
)
def test_broken_annotations_are_named(tmp_path: Path, annotation: dict, reason: str) -> None:
    write(tmp_path, [annotation])
    with pytest.raises(ValueError, match=reason):
        open_dataset(DatasetOptions(reader="coco_folder", root=str(tmp_path)))


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ({"size": [9, 9], "counts": [81]}, "the RLE is 9x9, the image 24x32"),
        ({"size": [24, 32], "counts": [81]}, "covers 81 pixels, the image 768"),
        ([[1, 1, 5, 5]], "a polygon of 4 coordinates"),
        ([], "list of polygons is empty"),
    ],
)
def test_broken_masks_name_the_example(tmp_path: Path, segmentation: object, reason: str) -> None:
    write(tmp_path, [{"phrase": "x", "segmentation": segmentation}])
    (example,) = coco_folder.load(tmp_path, "train")
    with pytest.raises(ValueError, match=f"mask 0 of example '1/0': .*{reason}"):
        example.load_masks()


def test_an_image_of_another_size_than_annotated_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, [{"phrase": "x", "segmentation": box(0, 0, 4, 4)}])
    save_image(tmp_path / "images" / "a.png", height=32, width=24)
    (example,) = coco_folder.load(tmp_path, "train")
    with pytest.raises(ValueError, match=r"a\.png: image of 32x24 .*annotated at 24x32: fetch"):
        example.load_image()


@pytest.mark.parametrize(
    ("section", "field", "told"),
    [
        ("images", "id", "an image: lacks id; add it there"),
        ("categories", "name", "a category: lacks name; add it there"),
    ],
)
def test_a_field_that_lacks_is_named(tmp_path: Path, section: str, field: str, told: str) -> None:
    write(tmp_path, [{"phrase": "x", "segmentation": box(0, 0, 4, 4)}])
    path = tmp_path / "train.json"
    content = json.loads(path.read_text())
    content.setdefault("categories", [{"id": 1, "name": "cup"}])
    del content[section][0][field]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=told):
        open_dataset(DatasetOptions(reader="coco_folder", root=str(tmp_path)))


def test_a_broken_region_of_unknown_label_names_the_example(tmp_path: Path) -> None:
    known = {"phrase": "x", "segmentation": box(0, 0, 4, 4)}
    write(tmp_path, [known, {"iscrowd": 1, "segmentation": [[1, 1, 5, 5]]}])
    (example,) = coco_folder.load(tmp_path, "train")
    with pytest.raises(ValueError, match="example '1/0': a polygon of 4 coordinates"):
        example.load_ignore()


def test_a_truncated_image_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, [{"phrase": "x", "segmentation": box(0, 0, 4, 4)}])
    path = tmp_path / "images" / "a.png"
    path.write_bytes(path.read_bytes()[:50])
    (example,) = coco_folder.load(tmp_path, "train")
    with pytest.raises(
        ValueError, match=r"a\.png: unreadable image of example '1/0'.*fetch it again"
    ):
        example.load_image()


def test_broken_json_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text('{"images": [],\n oops}')
    with pytest.raises(ValueError, match=r"train\.json:2: not JSON.*mend or fetch it"):
        coco_folder.load(tmp_path, "train")
