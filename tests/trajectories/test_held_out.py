"""What is evaluated is held out of a build."""

from pathlib import Path

import pytest

from pixsearch.config import BuildTrajectoriesOptions, QuestionSourceOptions
from pixsearch.trajectories.held_out import HeldOut, blocked_questions
from pixsearch.trajectories.sources import Questions
from tests.datasets.conftest import refcoco_root
from tests.datasets.questions.make_fixtures import FIXTURES

__all__ = ["refcoco_root"]


@pytest.mark.parametrize("exclude", [True, False])
def test_images_of_a_segmentation_set_may_be_held_out(refcoco_root: Path, exclude: bool) -> None:
    """RefCOCO's test images lie in COCO train, of which OK-VQA asks."""
    okvqa = QuestionSourceOptions(reader="okvqa", root=str(FIXTURES / "okvqa"))
    held_out = QuestionSourceOptions(reader="refcoco", root=str(refcoco_root), split="testA")
    options = BuildTrajectoriesOptions(exclude_eval_images=exclude)
    questions = Questions({"okvqa": okvqa})
    blocked, counted = blocked_questions(questions, HeldOut({"refcoco": held_out}), options)
    assert {reason for reason, _ in blocked.values()} == ({"leak_image"} if exclude else set())
    ((reason, outcome),) = counted
    assert (reason, outcome) == ("image", "blocked" if exclude else "counted")


def test_a_set_of_images_is_held_out_as_a_whole() -> None:
    with pytest.raises(ValueError, match=r"held_out\.refcoco\.limit=3"):
        HeldOut({"refcoco": QuestionSourceOptions(reader="refcoco", root=".", limit=3)})
