"""What is evaluated is held out of a build."""

from pathlib import Path

import pytest

from pixsearch.chat import Conversation, Grounded, Message, Role, Text
from pixsearch.config import BuildTrajectoriesOptions, QuestionSourceOptions
from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.datasets.trajectories import StoredTrajectory
from pixsearch.trajectories.counts import Counts
from pixsearch.trajectories.held_out import HeldOut, blocked_questions
from pixsearch.trajectories.sources import Questions, SourcedQuestion
from pixsearch.trajectories.writing import _check_phrases, _LeftOut
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


@pytest.mark.parametrize(
    ("phrase", "image_id", "is_left_out"),
    [
        ("The WOMAN", "coco/train2017/000000000009.jpg", False),
        ("Woman", "coco/train2017/000000000009.jpg", True),
        ("woman", "coco/train2017/000000000010.jpg", False),
        ("woman", None, False),
    ],
)
def test_an_answer_that_grounds_an_evaluated_expression_is_left_out(
    refcoco_root: Path, phrase: str, image_id: str | None, is_left_out: bool
) -> None:
    """RefCOCO's testA asks for "woman" in COCO's image 9."""
    apart = QuestionSourceOptions(reader="refcoco", root=str(refcoco_root), split="testA")
    question = AnnotatedQuestion(id="1", question="?", answers=("a",), image_id=image_id)
    record = SourcedQuestion(source="toy", key="toy/1", row=0, question=question)
    parts = (Text(text="I see"), Grounded(phrase=phrase), Text(text="a"))
    answer = Message(role=Role.ASSISTANT, parts=parts)
    conversation = Conversation(messages=(answer,), has_image=True)
    trajectory, counts = StoredTrajectory(id="toy/1", conversation=conversation), Counts()
    phrases = HeldOut({"refcoco": apart}).phrases()
    if is_left_out:
        with pytest.raises(_LeftOut, match="leak_expression"):
            _check_phrases(record, trajectory, phrases, counts)
    else:
        _check_phrases(record, trajectory, phrases, counts)
    assert counts.leaks == ({("expression", "blocked"): 1} if is_left_out else {})
