import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from pixsearch.chat import Role
from pixsearch.config import DatasetOptions
from pixsearch.datasets import open_dataset, refcoco
from pixsearch.datasets.grammar import check_conversation, grounded_phrases


def test_one_example_per_image_with_all_its_expressions_in_order(refcoco_root: Path) -> None:
    examples = refcoco.load(refcoco_root, "train")
    assert [example.id for example in examples] == ["7/0", "8/0"]
    assert grounded_phrases(examples[0].conversation) == [
        "the red cup",
        "cup on the left",
        "blue box",
    ]
    check_conversation(examples[0].conversation, num_masks=3, where="test")


def test_masks_are_exact_and_overlapping_polygons_are_united(refcoco_root: Path) -> None:
    example = refcoco.load(refcoco_root, "train")[0]
    masks = example.load_masks()
    expected = np.zeros((24, 32), dtype=bool)
    expected[3:9, 2:16] = True
    np.testing.assert_array_equal(masks[0], expected)
    np.testing.assert_array_equal(masks[1], expected)
    assert masks[2].sum() == 25


def test_uncompressed_rle_is_read(refcoco_root: Path) -> None:
    mask = refcoco.load(refcoco_root, "train")[1].load_masks()[0]
    assert mask[:, 30:].all()
    assert not mask[:, :30].any()


def test_images_are_found_in_the_layout_of_lisa(refcoco_root: Path) -> None:
    example = refcoco.load(refcoco_root, "testA")[0]
    assert example.load_image().size == (32, 24)
    assert grounded_phrases(example.conversation) == ["woman"]


def test_the_words_are_the_same_in_every_reading(refcoco_root: Path) -> None:
    options = DatasetOptions(reader="refcoco", root=str(refcoco_root), split="train")
    first, second = open_dataset(options), open_dataset(options)
    assert [example.conversation for example in first] == [e.conversation for e in second]


def test_questions_name_the_phrases_that_are_answered(refcoco_root: Path) -> None:
    messages = refcoco.load(refcoco_root, "train")[0].conversation.messages
    for question, answer in zip(messages[::2], messages[1::2], strict=True):
        assert (question.role, answer.role) == (Role.USER, Role.ASSISTANT)
        for part in answer.parts:
            assert getattr(part, "phrase", "") in question.parts[0].text


class Malicious:
    def __reduce__(self) -> tuple:
        return os.system, ("echo owned",)


@pytest.mark.parametrize("value", [Malicious(), eval, np.float64(1.0)])
def test_a_pickle_that_wants_to_load_code_is_refused(refcoco_root: Path, value: object) -> None:
    (refcoco_root / "refs(unc).p").write_bytes(pickle.dumps([{"split": value}]))
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p: .*wants to load") as error:
        refcoco.load(refcoco_root, "train")
    assert "\n" not in str(error.value)


def test_a_truncated_pickle_names_the_file(refcoco_root: Path) -> None:
    path = refcoco_root / "refs(unc).p"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p: not a file of references"):
        refcoco.load(refcoco_root, "train")


def test_an_unknown_split_lists_those_there_are(refcoco_root: Path) -> None:
    with pytest.raises(ValueError, match=r"no split 'val'; there are: testA, train"):
        refcoco.load(refcoco_root, "val")


def test_a_missing_image_names_file_and_example(refcoco_root: Path) -> None:
    example = refcoco.load(refcoco_root, "train")[1]
    Path(example.image_id).unlink()
    with pytest.raises(ValueError, match=r"COCO_train2014_000000000008\.jpg: missing .*'8/0'"):
        example.load_image()


def test_an_expression_occurs_once_and_names_one_object(refcoco_root: Path) -> None:
    path = refcoco_root / "refs(unc).p"
    refs = pickle.loads(path.read_bytes())
    again, other = refs[0]["sentences"][0], refs[1]["sentences"]
    refs[0]["sentences"] += [again, {**again, "sent": "thing"}]
    other.append({**again, "sent": "thing"})  # another object of the same image
    path.write_bytes(pickle.dumps(refs, protocol=2))
    example = refcoco.load(refcoco_root, "train")[0]
    phrases = grounded_phrases(example.conversation)
    assert phrases == ["the red cup", "cup on the left", "blue box"]
    assert len(example.load_masks()) == 3


def test_a_reference_to_no_annotation_is_named(refcoco_root: Path) -> None:
    path = refcoco_root / "instances.json"
    path.write_text(path.read_text().replace('"id": 101', '"id": 999'))
    with pytest.raises(ValueError, match="annotation 101 of reference 1"):
        open_dataset(DatasetOptions(reader="refcoco", root=str(refcoco_root)))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none of refs\(unc\)\.p"):
        refcoco.load(tmp_path, "train")


def test_an_unknown_reader_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match="no reader 'refcoc'; there are: ade20k"):
        open_dataset(DatasetOptions(reader="refcoc", root="."))
