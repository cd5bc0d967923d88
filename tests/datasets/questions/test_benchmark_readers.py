"""The readers of sets that are evaluated alone, on the fixtures that make_fixtures.py writes."""

import json
import re
import shutil
from pathlib import Path

import pytest

from pixsearch.config import DatasetOptions
from pixsearch.datasets.checking import what_lacks
from pixsearch.datasets.questions import QUESTION_READERS, hotpotqa, nq_open, popqa
from pixsearch.datasets.questions.question import AnnotatedQuestion, OfficialFields
from pixsearch.datasets.questions.releases import Rows
from pixsearch.datasets.splits import check_training_split
from tests.datasets.questions.make_fixtures import BLUE, FIXTURES, GREEN, RED
from tests.datasets.questions.test_readers import change, is_colour, plain, read, root

__all__ = ["root"]

SETS = {
    "encyclopedic_vqa": ("val", "val.csv"),
    "gqa": ("testdev_balanced", "questions/testdev_balanced_questions.json"),
    "hotpotqa": ("dev_fullwiki", "hotpot_dev_fullwiki_v1.json"),
    "musique": ("dev", "musique_ans_v1.0_dev.jsonl"),
    "nq_open": ("dev", "NQ-open.dev.jsonl"),
    "popqa": ("test", "popQA.tsv"),
    "vqav2": ("val", "v2_mscoco_val2014_annotations.json"),
}


def test_vqav2() -> None:
    wet, count = read("vqav2", "val")
    assert plain(wet) == AnnotatedQuestion(
        id="42000",
        question="Is the dog wet?",
        answers=(*["yes"] * 8, *["no"] * 2),
        labels=(("question_type", "is the"), ("answer_type", "yes/no")),
    )
    assert count.answers == (*["2"] * 9, "two")
    assert is_colour(wet, GREEN)
    (test,) = read("vqav2", "test-dev")
    assert test.answers == ()
    assert test.image_file.endswith("test2015/COCO_test2015_000000000007.jpg")


def test_gqa() -> None:
    cup, _ = read("gqa", "testdev_balanced")
    assert plain(cup) == AnnotatedQuestion(
        id="201307251",
        question="Is the cup to the left of the plate?",
        answers=("yes",),
        labels=(("structural", "verify"), ("semantic", "rel")),
    )
    assert is_colour(cup, BLUE)
    (test,) = read("gqa", "test_balanced")
    assert (test.answers, test.labels) == ((), ())


def test_encyclopedic_vqa() -> None:
    tree, herb, gate = read("encyclopedic_vqa", "val")
    assert plain(tree) == AnnotatedQuestion(
        id="val-0",
        question="How tall does this tree grow?",
        answers=("20 m", "20 metres"),
        entity_id="https://example.org/Tree",
        supporting=("Tree",),
        labels=(("question_type", "templated"), ("wikipedia_url_used_in_train", "False")),
        official=OfficialFields(evidence=("It grows 20 m tall, or more.",)),
    )
    assert is_colour(tree, GREEN)
    assert is_colour(gate, RED)  # of the folder index
    assert herb.answers == ("deer&&elk", "red deer&&elk")
    assert gate.entity_id == "https://example.org/Gate"


@pytest.mark.parametrize("split", ["dev_fullwiki", "dev_distractor"])
def test_hotpotqa_of_its_authors_and_of_the_hub(split: str) -> None:
    tower, builder = read("hotpotqa", split)
    assert tower == AnnotatedQuestion(
        id="5a8b",
        question="Is the Ro Tower in a town?",
        answers=("yes",),
        supporting=("Ro Tower", "Tarn"),
        labels=(("type", "comparison"), ("level", "hard")),
        official=OfficialFields(evidence=("It is in Tarn.", "A town.", "It is 90 m tall.")),
    )
    assert (builder.supporting, builder.official.evidence) == (("Abel Tarn",), ())  # not given
    (test,) = read("hotpotqa", "test_fullwiki")
    assert (test.answers, test.supporting, test.labels) == ((), (), ())


def test_nq_open_of_its_authors_and_of_the_hub() -> None:
    dev, train = read("nq_open", "dev"), read("nq_open", "train")  # two files of one row each
    assert dev[0] == AnnotatedQuestion(
        id="dev-0", question="when was the ro tower built", answers=("1901", "in 1901")
    )
    assert [question.id for question in train] == ["train-0", "train-1"]
    assert [question.answers for question in train] == [question.answers for question in dev]


def test_popqa() -> None:
    assert read("popqa", "test")[0] == AnnotatedQuestion(
        id="4222362",
        question="What is Abel Tarn's occupation?",
        answers=("politician", "political leader"),
        entity_id="http://www.wikidata.org/entity/Q5952047",
        supporting=("Abel Tarn",),
        labels=(("prop", "occupation"),),
    )


def test_musique() -> None:
    assert read("musique", "dev")[0] == AnnotatedQuestion(
        id="2hop__482757_12019",
        question="Who led the town in Ro?",
        answers=("Abel", "Abel of Tarn"),
        supporting=("Tarn", "Abel"),
        labels=(("hops", "2hop"),),
        official=OfficialFields(evidence=("Tarn is in Ro.", "Abel led Tarn.")),
    )
    (test,) = read("musique", "test")
    assert (test.answers, test.supporting) == ((), ())


@pytest.mark.parametrize("name", SETS)
def test_their_files_are_known(name: str) -> None:
    split, file = SETS[name]
    assert FIXTURES / name / file in QUESTION_READERS[name](FIXTURES / name, split).files


@pytest.mark.parametrize("name", SETS)
def test_a_missing_file_is_named(name: str, root: Path) -> None:
    split, file = SETS[name]
    (root / name / file).unlink()
    with pytest.raises(ValueError, match=rf"{re.escape(file)}: no such file.*data/README\.md"):
        read(name, split, root)


@pytest.mark.parametrize("name", sorted(SETS.keys() - {"encyclopedic_vqa", "popqa"}))
def test_a_broken_file_is_named(name: str, root: Path) -> None:
    split, file = SETS[name]
    change(root / name / file, lambda text: text.replace("{", "{,", 1))
    with pytest.raises(ValueError, match=rf"{re.escape(file)}:\d+: not JSON"):
        read(name, split, root)


@pytest.mark.parametrize(
    ("name", "old", "new", "error"),
    [
        ("encyclopedic_vqa", "question_type", "kind", "item 0: lacks question_type"),
        ("encyclopedic_vqa", "landmarks", "seas", "item 2: image '00a1.*' of 'seas'; there are"),
        ("encyclopedic_vqa", "2686843|7", "5|7", "item 0: image 5 is in neither train.json nor"),
        ("encyclopedic_vqa", '"', "", "item .*"),
        ("gqa", '"imageId"', '"image"', "item 0: lacks imageId"),
        ("gqa", '"answer": "yes"', '"answer": 1', "item 0: .*(official form|not text)"),
        ("hotpotqa", '"answer": "yes"', '"other": 1', "item 0: lacks answer"),
        ("hotpotqa", '"Ro Tower",\n    0', '"Ro Tower"', "item 0: not of the official form"),
        ("musique", '"answerable": true', '"answerable": false', "dev.jsonl:1: not answerable"),
        ("musique", '"paragraphs"', '"texts"', "dev.jsonl:1: lacks paragraphs"),
        ("nq_open", '"answer"', '"answers"', "dev.jsonl: item 0: lacks answer"),
        ("popqa", "possible_answers", "answers", "popQA.tsv: item 0: lacks possible_answers"),
        ("popqa", '"[""politician', "politician", "item 0: possible_answers is no JSON"),
        ("vqav2", '"answer_type"', '"kind"', "annotations.json: item 0: lacks answer_type"),
        ("vqav2", '"question_id": 42001', '"question_id": 42000', "is annotated twice"),
    ],
)
def test_what_is_not_as_it_should_be_is_named(name, old, new, error: str, root: Path) -> None:
    split, file = SETS[name]
    change(root / name / file, lambda text: text.replace(old, new))
    with pytest.raises(ValueError, match=error):
        read(name, split, root)


def test_a_file_of_rows_that_is_none(root: Path) -> None:
    parquet = root / "hotpotqa/distractor/validation-00000-of-00001.parquet"
    parquet.write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"validation-.*: no parquet .* fetch it again"):
        read("hotpotqa", "dev_distractor", root)
    (root / "hotpotqa/hotpot_dev_fullwiki_v1.json").write_text("{}")
    with pytest.raises(ValueError, match="a dict, not a list of questions"):
        read("hotpotqa", "dev_fullwiki", root)
    (root / "popqa/popQA.tsv").write_bytes(b"id\tquestion\n1\t\xff\n")
    with pytest.raises(ValueError, match=r"popQA\.tsv: no table .* fetch it again"):
        read("popqa", "test", root)
    (root / "gqa/questions/testdev_balanced_questions.json").write_text("[]")
    with pytest.raises(ValueError, match="a list, not the object of GQA's questions"):
        read("gqa", "testdev_balanced", root)


def test_a_row_of_several_files_is_named_by_its_own() -> None:
    files = sorted((FIXTURES / "nq_open/nq_open").glob("*.parquet"))
    rows = Rows(files)
    assert [rows.where(row) for row in range(2)] == [f"{file}: item 0" for file in files]


@pytest.mark.parametrize("name", ["hotpotqa", "popqa", "vqav2"])
def test_splits_that_are_not_there(name: str) -> None:
    with pytest.raises(ValueError, match=r"has no split 'validation'; there (is|are): "):
        read(name, "validation")


def test_what_came_from_the_hub_is_of_the_pinned_revision(root: Path) -> None:
    """By the note that `hf download --local-dir` leaves: the commit is its first line."""
    shutil.move(root / "popqa/popQA.tsv", root / "popqa/test.tsv")
    note = root / "popqa/.cache/huggingface/download/test.tsv.metadata"
    note.parent.mkdir(parents=True)
    for revision, fits in ((popqa.HUB.revision, True), ("0" * 40, False)):
        note.write_text(f"{revision}\nan etag\n1700000000.0\n")
        if fits:
            assert len(read("popqa", "test", root)) == 2
            continue
        with pytest.raises(ValueError, match=rf"of revision 0+, not {popqa.HUB.revision}"):
            read("popqa", "test", root)


@pytest.mark.parametrize("module", [hotpotqa, nq_open, popqa])
def test_a_revision_is_a_commit(module) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", module.HUB.revision)
    assert module.HUB.revision in module.HUB.command(Path("data"))


@pytest.mark.parametrize("name", SETS)
def test_the_check_of_data_knows_them(name: str, root: Path) -> None:
    split, file = SETS[name]
    options = DatasetOptions(reader=name, root=str(root / name), split=split)
    images = {"encyclopedic_vqa": 1}  # b.jpg of iNaturalist is not there
    lacking = list(what_lacks(options))
    assert len(lacking) == images.get(name, 0)
    assert all("1 of 3 images are not there, the first: " in line for line in lacking)
    (root / name / file).unlink()
    (line,) = what_lacks(options)
    assert file in line


@pytest.mark.parametrize("name", SETS)
def test_what_is_reported_on_is_not_trained_on(name: str) -> None:
    with pytest.raises(ValueError, match="is not for training"):
        check_training_split(name, SETS[name][0])


def test_annotations_of_another_release(root: Path) -> None:
    path = root / "vqav2/v2_mscoco_val2014_annotations.json"
    content = json.loads(path.read_text())
    del content["annotations"][1]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="item 1: question 42001 is not annotated in"):
        read("vqav2", "val", root)
