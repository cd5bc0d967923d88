import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pixsearch.datasets.leaks import (
    Expression,
    KeptOut,
    Leak,
    LeakReason,
    count_leaks,
    expressions_of_refs,
    find_expression_leaks,
    find_leaks,
    normalised_text,
)
from pixsearch.datasets.questions import QUESTION_READERS
from pixsearch.datasets.questions.question import AnnotatedQuestion
from tests.datasets.builders import briefly
from tests.datasets.conftest import refcoco_root
from tests.datasets.questions.make_fixtures import FIXTURES

__all__ = ["refcoco_root"]

WORDS = st.sampled_from(["Who made it?", "who made it", "where is it?", ""])
IMAGES = st.sampled_from([None, "a.png", "b.png", "x/000000000009.jpg"])
SESSIONS = st.sampled_from([None, "s1", "s2"])
SAME = {"x/000000000009.jpg": "y/COCO_train2014_000000000009.jpg"}


def question(id: str, text: str = "who made it?", **fields: Any) -> AnnotatedQuestion:
    return AnnotatedQuestion(id=id, question=text, answers=("Abel",), **fields)


def found(trained: AnnotatedQuestion, held_out: AnnotatedQuestion, **how: bool) -> dict[str, bool]:
    leaks = find_leaks([trained], [held_out], **how)
    assert all((leak.question_id, leak.held_out_id) == ("t", "h") for leak in leaks)
    return {str(leak.reason): leak.blocking for leak in leaks}


def test_the_same_session_blocks() -> None:
    trained = question("t", "which car is it?", session_id="s")
    assert found(trained, question("h", "who made it?", session_id="s")) == {"session": True}
    assert found(trained, question("h", "who made it?", session_id="r")) == {}


def test_the_same_question_about_the_same_image_blocks() -> None:
    trained = question("t", "Who made  it?", image_id="a.png")
    same = {"question": True, "image": False}
    assert found(trained, question("h", "who made it", image_id="a.png")) == same
    assert found(trained, question("h", "who made it", image_id="b.png")) == {}
    assert found(trained, question("h", "who made it", image_id=None)) == {}
    assert found(trained, question("h", "where is it", image_id="a.png")) == {"image": False}
    without = question("t", "Who made  it?")
    assert found(without, question("h", "who made it")) == {"question": True}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a/COCO_train2014_000000000009.jpg", "b/train2017/000000000009.jpg", True),
        ("a/COCO_train2014_000000000009.jpg", "COCO_train2014_000000000009_57.jpg", True),
        ("a/COCO_val2014_000000000019.jpg", "b/train2017/000000000009.jpg", False),
        ("infoseek/oven_images/01/oven_01963180.jpg", "oven/x/01/oven_01963180.JPEG", True),
        ("textvqa/train_images/0000599864fd15b3.jpg", "llava/0000599864fd15b3.jpg", True),
        ("a/cup.jpg", "b/cup.jpg", False),
    ],
)
def test_images_are_known_by_their_official_numbers(one: str, other: str, same: bool) -> None:
    leaks = found(question("t", image_id=one), question("h", "else?", image_id=other))
    assert leaks == ({"image": False} if same else {})


def test_images_are_compared_by_their_pixels_if_asked() -> None:
    def shown(id: str, image_id: str, colour: str) -> AnnotatedQuestion:
        load = partial(Image.new, "RGB", (4, 3), colour)
        return question(id, image_id=image_id, load_image=load)

    red, copy, blue = (
        shown("t", "a.png", "red"),
        shown("h", "b.png", "red"),
        shown("h", "c.png", "blue"),
    )
    assert found(red, copy) == {}
    assert found(red, copy, by_content=True) == {"question": True, "image": False}
    assert found(red, blue, by_content=True) == {}


def test_one_leak_a_reason_however_many_have_it_in_common() -> None:
    held_out = [question(str(row), image_id="a.png") for row in range(3)]
    leaks = find_leaks([question("t", image_id="a.png")] * 2, held_out)
    assert count_leaks(leaks) == dict.fromkeys(LeakReason, 0) | {
        LeakReason.question: 2,
        LeakReason.image: 2,
    }
    assert {leak.held_out_id for leak in leaks} == {"0"}


def brute_force(
    trained: list[AnnotatedQuestion], held_out: list[AnnotatedQuestion]
) -> set[tuple[str, str]]:
    """Every pair compared with every other."""
    leaks = set()
    for one in trained:
        for other in held_out:
            image = SAME.get(one.image_id, one.image_id)
            same_image = image is not None and image == SAME.get(other.image_id, other.image_id)
            if one.session_id is not None and one.session_id == other.session_id:
                leaks.add((one.id, "session"))
            if same_image:
                leaks.add((one.id, "image"))
            words = normalised_text(one.question) == normalised_text(other.question)
            if words and (same_image or one.image_id is other.image_id is None):
                leaks.add((one.id, "question"))
    return leaks


@briefly
@given(
    drawn=st.lists(st.tuples(WORDS, IMAGES, SESSIONS), max_size=6),
    held=st.lists(st.tuples(WORDS, IMAGES, SESSIONS), max_size=6),
)
def test_hashing_finds_what_comparing_all_pairs_finds(drawn, held) -> None:
    trained, held_out = (
        [
            question(str(row), text, image_id=image, session_id=session)
            for row, (text, image, session) in enumerate(rows)
        ]
        for rows in (drawn, held)
    )
    leaks = find_leaks(trained, held_out)
    assert {(leak.question_id, str(leak.reason)) for leak in leaks} == brute_force(
        trained, held_out
    )
    assert len(leaks) == len({(leak.question_id, leak.reason) for leak in leaks})
    assert all(leak.blocking == (leak.reason is not LeakReason.image) for leak in leaks)
    moved = [
        question(q.id, q.question, image_id=SAME.get(q.image_id, q.image_id)) for q in held_out
    ]
    assert find_leaks([], moved) == find_leaks(trained, []) == []


@briefly
@given(text=st.text("aB é\u0301ß\u017f\uff11,.?'\t", max_size=12))
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalised_text(text)
    assert normalised_text(once) == normalised_text(f"  {text}?!") == once


def test_sets_that_share_images(tmp_path: Path) -> None:
    folder = FIXTURES / "infoseek"
    train, test = (QUESTION_READERS["infoseek"](folder, split) for split in ("train", "test"))
    leaks = find_leaks(train, test)
    assert [(leak.question_id[-1], leak.reason) for leak in leaks] == [
        ("1", LeakReason.question),
        ("1", LeakReason.image),
    ]
    okvqa = QUESTION_READERS["okvqa"](FIXTURES / "okvqa", "train")
    coco = question("h", image_id="train2017/000000000009.jpg")
    assert count_leaks(find_leaks(okvqa, [coco]))[LeakReason.image] == 2
    validation, public = (
        QUESTION_READERS["crag_mm"](FIXTURES / "crag_mm" / "single", split)
        for split in ("validation", "public_test")
    )
    assert [leak.reason for leak in find_leaks(validation, public)] == [LeakReason.image]


def test_expressions_and_annotations_of_refcoco(refcoco_root: Path) -> None:
    refs = refcoco_root / "refs(unc).p"
    train, test = (list(expressions_of_refs(refs, split)) for split in ("train", "testA"))
    assert [each.text for each in train] == ["the red cup", "cup on the left", "blue box", "man"]
    assert find_expression_leaks(train, test) == []

    name = "COCO_train2014_000000000007_100.jpg"
    other_split = Expression(id="x", text="The red CUP", image_id=name)
    leaks = find_expression_leaks([other_split], train)
    assert {(leak.question_id, leak.reason, leak.blocking) for leak in leaks} == {
        ("x", LeakReason.expression, True),
        ("x", LeakReason.image, False),
    }
    same_object = Expression(id="y", text="else", image_id="z.jpg", annotation_id="100")
    (leak,) = find_expression_leaks([same_object], train)
    assert (leak.reason, leak.held_out_id, leak.blocking) == (LeakReason.annotation, "0/0", True)


def test_leaks_can_be_sent_and_compared() -> None:
    leak = Leak(question_id="a", held_out_id="b", reason=LeakReason.image, blocking=False)
    assert pickle.loads(pickle.dumps(leak)) == leak


def test_a_reference_that_lacks_its_object_is_an_error(refcoco_root: Path) -> None:
    path = refcoco_root / "refs(unc).p"
    refs = pickle.loads(path.read_bytes())
    del refs[0]["ann_id"]
    path.write_bytes(pickle.dumps(refs, protocol=2))
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p: a reference: lacks ann_id"):
        list(expressions_of_refs(path, "train"))


def test_images_inside_other_files_are_compared_by_their_pixels() -> None:
    """Ids of CRAG-MM's embedded images name the file of the split."""
    red, blue = (partial(Image.new, "RGB", (4, 3), colour) for colour in ("red", "blue"))
    kept_out = KeptOut(embedded_by_content=True)
    kept_out.add(question("h", "else?", image_id="public_test.parquet#s", load_image=red))
    for name, load, reasons in (("r", red, ["image"]), ("b", blue, [])):
        trained = question("t", image_id=f"validation.parquet#{name}", load_image=load)
        assert [str(leak.reason) for leak in kept_out.leaks_of([trained])] == reasons
    filed = question("t", image_id="a.png", image_file="a.png", load_image=red)
    assert list(kept_out.leaks_of([filed])) == []
