from pathlib import Path

import pytest

from pixsearch.config import DataOptions, DatasetOptions
from pixsearch.datasets import refcoco
from pixsearch.datasets.exclusion import images_of, known_images, without_images
from pixsearch.datasets.splits import check_training_split
from pixsearch.datasets.subset import SomeExamples
from tests.datasets.questions.make_fixtures import FIXTURES


def test_examples_that_show_an_image_are_left_out(refcoco_root: Path) -> None:
    examples = refcoco.load(refcoco_root, "train")
    every = SomeExamples(examples, range(len(examples)))
    shown = [example.image_id for example in every]
    assert len(set(shown)) == 2
    left = without_images(every, known_images(["elsewhere/000000000007.jpg", None]))
    assert [example.image_id for example in left] == [i for i in shown if not i.endswith("7.jpg")]
    assert len(without_images(every, frozenset())) == len(every)


def test_images_of_examples_and_of_questions(refcoco_root: Path) -> None:
    options = DatasetOptions(reader="refcoco", root=str(refcoco_root), split="testA")
    assert images_of(options) == {"coco/000000000009"}
    okvqa = DatasetOptions(reader="okvqa", root=str(FIXTURES / "okvqa"))
    assert images_of(okvqa) == {"coco/000000000009"}
    with pytest.raises(ValueError, match="no reader 'ok_vqa'"):
        images_of(DatasetOptions(reader="ok_vqa", root="."))


def test_nothing_to_exclude_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"data\.eval_images names no set"):
        DataOptions(exclude_eval_images=True)


@pytest.mark.parametrize(
    ("reader", "split"),
    [("crag_mm", "public_test"), ("refcoco", "testA"), ("oven", "entity_val"), ("textvqa", "test")],
)
def test_what_is_reported_on_is_refused_in_one_line(reader: str, split: str) -> None:
    with pytest.raises(ValueError, match=rf"^{reader}: '{split}' is not for training; there is: "):
        check_training_split(reader, split)


def test_what_may_be_trained_on() -> None:
    check_training_split("crag_mm", "validation")
    check_training_split("llava", "llava_v1_5_mix665k")
