"""Single expressions, as they are evaluated."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pixsearch.datasets.masks import times_covered
from pixsearch.datasets.referring import read_grefcoco, read_refcoco
from tests.datasets.builders import HEIGHT, WIDTH, box

FIXTURES = Path(__file__).with_name("fixtures") / "refer_seg"


@pytest.fixture
def own(tmp_path):
    """A copy that may be broken."""
    return Path(shutil.copytree(FIXTURES / "grefcoco", tmp_path / "grefcoco"))


def test_every_expression_of_a_split_stands_by_itself():
    found = read_refcoco(FIXTURES / "refcoco", "train")
    assert [each.words for each in found] == ["the red cup", "cup on the left", "blue box"]
    assert [each.id for each in found] == ["0/0", "0/1", "1/0"]
    assert {len(each.segmentations) for each in found} == {1}
    assert all(each.image.is_file() and each.size == (HEIGHT, WIDTH) for each in found)
    assert [each.words for each in read_refcoco(FIXTURES / "refcoco", "testA")] == ["woman"]


def test_expressions_of_grefcoco_mean_several_objects_or_none():
    found = read_grefcoco(FIXTURES / "grefcoco", "val")
    assert {each.words: len(each.segmentations) for each in found} == {
        "cup and box": 2,
        "the woman": 1,
        "a dog": 0,
        "any cat": 0,
    }


def test_a_split_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"no split 'testB'; there are: val"):
        read_grefcoco(FIXTURES / "grefcoco", "testB")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ann_id", 5, "its ann_id is 5, not a list of ids"),
        ("ann_id", [], r"its ann_id is \[\], not a list"),
        ("ann_id", [77], "annotation 77 of reference 0 is not in it"),
        ("image_id", 12, "image 12 of reference 0 is not in it"),
        ("sentences", [{"sent": " "}], "a sentence of reference 0 is blank"),
    ],
)
def test_a_broken_reference_is_refused(own, field, value, message):
    path = own / "grefs(unc).json"
    refs = json.loads(path.read_text())
    refs[0][field] = value
    path.write_text(json.dumps(refs))
    with pytest.raises(ValueError, match=message):
        read_grefcoco(own, "val")


def test_broken_annotations_are_refused(own):
    path = own / "instances.json"
    content = json.loads(path.read_text())
    content["annotations"].append(content["annotations"][0])
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"annotation 0 occurs twice; keep one \(1 broken"):
        read_grefcoco(own, "val")


def test_polygons_are_counted_where_they_overlap():
    polygons = [*box(2, 3, 10, 6), *box(6, 3, 10, 6)]
    times = times_covered(polygons, height=HEIGHT, width=WIDTH)
    assert times[3:9, 6:12].min() == times.max() == 2
    assert (times == 1).sum() == 2 * 4 * 6
    assert not times_covered(height=HEIGHT, width=WIDTH).any()
    rle = {"size": [2, 2], "counts": [1, 2, 1]}
    np.testing.assert_array_equal(times_covered(rle, height=2, width=2), [[0, 1], [1, 0]])
