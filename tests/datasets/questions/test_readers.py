"""The readers of question sets, on the fixtures that make_fixtures.py writes."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pixsearch.datasets.questions import QUESTION_READERS
from pixsearch.datasets.questions.question import AnnotatedQuestion, OfficialFields
from tests.datasets.questions.make_fixtures import BLUE, FIXTURES, GREEN, RED, write_fixtures

COUNTS = {
    ("aokvqa", "train"): 1,
    ("aokvqa", "test"): 1,
    ("crag_mm/multi", "validation"): 3,
    ("crag_mm/single", "validation"): 1,
    ("crag_mm/single", "public_test"): 1,
    ("encyclopedic_vqa", "val"): 3,
    ("gqa", "testdev_balanced"): 2,
    ("gqa", "test_balanced"): 1,
    ("hotpotqa", "dev_fullwiki"): 2,
    ("hotpotqa", "dev_distractor"): 2,
    ("hotpotqa", "test_fullwiki"): 1,
    ("infoseek", "train"): 2,
    ("infoseek", "val"): 2,
    ("infoseek", "test"): 1,
    ("musique", "dev"): 2,
    ("musique", "test"): 1,
    ("nq_open", "dev"): 2,
    ("nq_open", "train"): 2,
    ("okvqa", "train"): 2,
    ("oven", "entity_train"): 3,
    ("oven", "entity_test"): 1,
    ("oven", "entity_val"): 1,
    ("oven", "query_val"): 1,
    ("popqa", "test"): 2,
    ("textvqa", "train"): 2,
    ("textvqa", "val"): 1,
    ("textvqa", "test"): 1,
    ("vqav2", "val"): 2,
    ("vqav2", "test-dev"): 1,
    ("webqa", "train"): 2,
    ("webqa", "val"): 1,
    ("webqa", "test"): 1,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the fixtures that a test may break."""
    return shutil.copytree(FIXTURES, tmp_path / "fixtures")


def read(name: str, split: str, root: Path = FIXTURES) -> list[AnnotatedQuestion]:
    return list(QUESTION_READERS[name.split("/")[0]](root / name, split))


def plain(question: AnnotatedQuestion, **without: None) -> AnnotatedQuestion:
    """Without what names this folder, for comparing a whole record."""
    fields = vars(question) | {"image_id": None, "load_image": None, "image_file": None}
    return AnnotatedQuestion(**(fields | without))


def change(path: Path, edit: Callable[[str], str]) -> None:
    path.write_text(edit(path.read_text()))


def is_colour(question: AnnotatedQuestion, colour: tuple[int, int, int]) -> bool:
    image = question.load_image()
    pixel = image.getpixel((0, 0))
    return image.size == (12, 8) and max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) < 9


def test_every_reader_has_fixtures() -> None:
    assert {name.split("/")[0] for name, _ in COUNTS} == set(QUESTION_READERS)


@pytest.mark.parametrize(("name", "split"), COUNTS)
def test_counts_and_ids(name: str, split: str) -> None:
    questions = QUESTION_READERS[name.split("/")[0]](FIXTURES / name, split)
    assert len(questions) == COUNTS[name, split]
    assert len({question.id for question in questions}) == len(questions)
    again = pickle.loads(pickle.dumps(questions))  # into a worker
    assert [question.id for question in again] == [question.id for question in questions]
    assert questions[-1].id == questions[len(questions) - 1].id
    with pytest.raises(IndexError):
        questions[len(questions)]


@pytest.mark.parametrize(("name", "split"), COUNTS)
def test_images_decode(name: str, split: str) -> None:
    for question in read(name, split):
        if question.image_file is not None and Path(question.image_file).is_file():
            assert question.load_image().size == (12, 8)
        assert (question.image_id is None) == (question.load_image is None)


def test_the_script_writes_what_is_committed(tmp_path: Path) -> None:
    write_fixtures(tmp_path)
    texts = (
        ".json",
        ".jsonl",
        ".lineidx",
        ".csv",
        ".tsv",
    )  # encoders of images and parquet differ by version
    written, committed = (
        {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path, FIXTURES)
    )
    assert set(written) == set(committed)
    for name, path in written.items():
        assert path.suffix not in texts or path.read_text() == committed[name].read_text(), name


def test_textvqa() -> None:
    first, second = read("textvqa", "train")
    assert plain(first) == AnnotatedQuestion(
        id="1",
        question="what does the sign say?",
        answers=(*["stop"] * 6, *["stop sign"] * 2, "the stop", "unanswerable"),
        official=OfficialFields(image_words=("STOP", "BAKERY")),
    )
    assert first.image_id == second.image_id
    assert is_colour(first, RED)
    (test,) = read("textvqa", "test")
    assert test.answers == test.official.image_words == ()
    assert is_colour(test, BLUE)


def test_okvqa() -> None:
    first, second = read("okvqa", "train")
    assert plain(first) == AnnotatedQuestion(
        id="95",
        question="Which country bakes this most?",
        answers=(*["france"] * 7, *["denmark"] * 3),
        labels=(("question_type", "Cooking and Food"),),
        official=OfficialFields(compared_answers=(*["franc"] * 7, *["danish"] * 3)),
    )
    assert second.image_id == first.image_id == first.image_file
    assert is_colour(first, RED)


def test_aokvqa() -> None:
    (question,) = read("aokvqa", "train")
    assert plain(question) == AnnotatedQuestion(
        id="22MexNkBPpdZGX6sxbxVBH",
        question="Why does the animal bend its neck?",
        answers=(*["to drink"] * 5, *["drink"] * 4, "thirst"),
        labels=(("difficult_direct_answer", "false"),),
        official=OfficialFields(
            choices=("to drink", "to sleep", "to hide", "to run"),
            correct_choice=0,
            rationales=("There is water below.", "It is thirsty.", "Animals drink so."),
        ),
    )
    assert is_colour(question, GREEN)
    (test,) = read("aokvqa", "test")
    assert (test.answers, test.official.correct_choice, len(test.official.choices)) == ((), None, 4)


def test_oven() -> None:
    questions = read("oven", "entity_train")
    assert plain(questions[1]) == AnnotatedQuestion(
        id="oven_entity_train_00000001",
        question="what is the model of this aircraft?",
        answers=("Cessna 172",),
        entity_id="Q244416",
        labels=(("data_split", "entity_train"),),
    )
    assert is_colour(questions[0], RED)
    assert is_colour(questions[1], GREEN)  # a .JPEG
    (test,) = read("oven", "entity_test")
    assert (test.answers, test.entity_id) == ((), None)


def test_infoseek() -> None:
    _, second = read("infoseek", "train")
    assert plain(second) == AnnotatedQuestion(
        id="infoseek_train_00000001",
        question="Who made this aircraft?",
        answers=("Cessna",),
        entity_id="Q244416",
        supporting=("Cessna 172",),
        labels=(("data_split", "train"),),
        official=OfficialFields(compared_answers=("Cessna", "Cessna Aircraft Company")),
    )
    assert is_colour(second, GREEN)
    number, year = read("infoseek", "val")
    assert number.labels == (
        ("data_split", "val_unseen_entity"),
        ("question_type", "Numerical"),
    )
    assert number.official == OfficialFields(answer_range=(3.6, 4.4))
    assert year.official.compared_answers == ("1969", "1968", "1970")
    (test,) = read("infoseek", "test")
    assert (test.answers, test.official) == ((), OfficialFields())
    oven = read("oven", "entity_train")
    assert test.image_id == oven[1].image_id  # the two sets share images


def test_the_range_of_a_number_may_stand_alone(root: Path) -> None:
    unwrap = r'[{"wikidata": 4.0, "range": [3.6, 4.4]}]', '{"wikidata": 4, "range": [3.6, 4.4, 9]}'
    change(root / "infoseek/infoseek_val.jsonl", lambda text: text.replace(*unwrap))
    assert read("infoseek", "val", root)[0].official.answer_range == (3.6, 4.4)


def test_webqa() -> None:
    dome, towers = read("webqa", "train")
    assert plain(dome) == AnnotatedQuestion(
        id="a1",
        question="Is the dome green?",
        answers=("No, it is red.",),
        supporting=("30000000",),
        labels=(("Qcate", "YesNo"),),
        official=OfficialFields(evidence=("Dome seen from the square",)),
    )
    assert is_colour(dome, RED)
    assert dome.image_id == f"{FIXTURES / 'webqa' / 'imgs.tsv'}#30000000"
    assert (towers.image_id, towers.supporting) == (None, ("30000000", "30000001"))
    (text,) = read("webqa", "val")
    assert (text.question, text.answers) == ("What was it built of?", ("Oak.",))
    assert (text.supporting, text.official.evidence) == (("d5bb0_4",), ("It was built of oak.",))
    (test,) = read("webqa", "test")
    assert (test.answers, test.supporting) == ((), ())


def test_crag_mm() -> None:
    turns = read("crag_mm/multi", "validation")
    assert plain(turns[2]) == AnnotatedQuestion(
        id="m1-2",
        question="where?",
        answers=("In Tarnwick.",),
        history=(("which car is this?", "A Zor."), ("who makes it?", "")),
        session_id="m1",
        labels=(
            ("domain", "vehicle"),
            ("query_category", "simple-knowledge"),
            ("dynamism", "static"),
            ("image_quality", "normal"),
            ("is_egocentric", "true"),
        ),
    )
    assert turns[1].answers == ()
    assert [turn.image_file for turn in turns] == [None] * 3
    assert is_colour(turns[0], RED)
    (single,) = read("crag_mm/single", "validation")
    assert (single.history, single.session_id) == ((), "s1")
    assert single.image_file == str(FIXTURES / "crag_mm/single/bridge.jpg")
    assert ("is_egocentric", "false") in single.labels


MISSING = {
    "aokvqa": ("train", "coco/train2017/000000000025.jpg", "COCO's train2017.zip"),
    "infoseek": ("train", "oven/oven_images/00/oven_00000000.jpg", "OVEN's images"),
    "okvqa": ("train", "coco/train2014/COCO_train2014_000000000009.jpg", "COCO's train2014.zip"),
    "oven": ("entity_train", "oven/oven_images/00/oven_00000000.jpg", "OVEN's images"),
    "textvqa": ("train", "textvqa/train_images/0000599864fd15b3.jpg", "train_val_images.zip"),
    "webqa": ("train", "webqa/imgs.tsv", "imgs.7z.001"),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_image_is_named_with_where_to_get_it(name: str, root: Path) -> None:
    split, file, source = MISSING[name]
    (root / file).unlink()
    question = read(name, split, root)[0]
    with pytest.raises(ValueError, match="missing") as raised:
        question.load_image()
    assert str(root / file) in str(raised.value)
    assert source in str(raised.value)
    assert repr(question.id) in str(raised.value)


@pytest.mark.parametrize("name", ["textvqa", "oven"])
def test_a_truncated_image_is_named(name: str, root: Path) -> None:
    split, file, _ = MISSING[name]
    (root / file).write_bytes((root / file).read_bytes()[:300])
    with pytest.raises(ValueError, match=r"unreadable image of example .* fetch it again"):
        read(name, split, root)[0].load_image()


FILES = {
    "aokvqa": ("train", "aokvqa_v1p0_train.json"),
    "infoseek": ("train", "infoseek_train_withkb.jsonl"),
    "okvqa": ("train", "mscoco_train2014_annotations.json"),
    "oven": ("entity_train", "oven_entity_train.jsonl"),
    "textvqa": ("val", "TextVQA_0.5.1_val.json"),
    "webqa": ("val", "WebQA_train_val.json"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_missing_or_no_json_are_named(name: str, root: Path) -> None:
    split, file = FILES[name]
    change(root / name / file, lambda text: text.replace("{", "{,", 1))
    with pytest.raises(ValueError, match=rf"{file}:\d+: not JSON .* mend"):
        read(name, split, root)
    (root / name / file).unlink()
    with pytest.raises(ValueError, match=rf"{file}: no such file; data/README.md"):
        read(name, split, root)


def test_one_bad_line_spoils_no_other(root: Path) -> None:
    path = root / "oven" / "oven_entity_train.jsonl"
    change(path, lambda text: text.replace('"question": ', '"question" ', 1))
    questions = QUESTION_READERS["oven"](root / "oven", "entity_train")
    assert [questions[row].id[-1] for row in (1, 2)] == ["1", "2"]
    with pytest.raises(ValueError, match=r"oven_entity_train\.jsonl:1: not JSON .* mend the line"):
        questions[0]


@pytest.mark.parametrize(
    ("name", "split", "file", "id_field"),
    [
        ("aokvqa", "train", "aokvqa_v1p0_train.json", "question_id"),
        ("okvqa", "train", "OpenEnded_mscoco_train2014_questions.json", "question_id"),
        ("textvqa", "train", "TextVQA_0.5.1_train.json", "question_id"),
        ("webqa", "train", "WebQA_train_val.json", "Guid"),
    ],
)
def test_a_lacking_or_repeated_field_is_named(name, split, file, id_field, root: Path) -> None:
    path = root / name / file
    content = json.loads(path.read_text())
    records = next((content[key] for key in ("data", "questions") if key in content), content)
    if isinstance(records, dict):
        records["b"] = records["a1"]
    else:
        records.append(records[0])
    path.write_text(json.dumps(content))
    questions = QUESTION_READERS[name](root / name, split)
    questions[0]
    with pytest.raises(ValueError, match=rf"{file}: item \d: has the id of .*item 0 again"):
        questions[len(questions) - 1]
    change(path, lambda text: text.replace(f'"{id_field}"', '"other"'))
    with pytest.raises(ValueError, match=f"{file}: item 0: lacks {id_field}"):
        read(name, split, root)


@pytest.mark.parametrize(
    ("name", "split", "file"),
    [
        ("oven", "entity_train", "oven_entity_train.jsonl"),
        ("infoseek", "train", "infoseek_train.jsonl"),
    ],
)
def test_a_repeated_line_is_named(name: str, split: str, file: str, root: Path) -> None:
    change(root / name / file, lambda text: text + text.splitlines()[0] + "\n")
    questions = QUESTION_READERS[name](root / name, split)
    assert questions[0].id.endswith("00000000")
    with pytest.raises(ValueError, match=rf"{file}:\d: has the id of .*{file}:1 again"):
        questions[len(questions) - 1]


def test_a_turn_that_stands_twice_is_named(root: Path) -> None:
    folder = root / "crag_mm" / "single"
    shutil.copy(folder / "validation.parquet", folder / "validation-00000-of-00001.parquet")
    questions = QUESTION_READERS["crag_mm"](folder, "validation")
    with pytest.raises(ValueError, match=r"validation, turn 1: has the id of .*turn 0 again"):
        questions[1]


def test_files_of_different_releases_are_refused(root: Path) -> None:
    change(root / "infoseek/infoseek_train_withkb.jsonl", lambda text: text.split("\n")[0] + "\n")
    with pytest.raises(ValueError, match=r"withkb\.jsonl: no line with the data_id '.*_00000000'"):
        read("infoseek", "train", root)
    change(
        root / "okvqa/mscoco_train2014_annotations.json",
        lambda text: text.replace('"question_id": 96', '"question_id": 97'),
    )
    with pytest.raises(ValueError, match=r"item 1: question 96 is not annotated in"):
        read("okvqa", "train", root)
    change(
        root / "okvqa/mscoco_train2014_annotations.json",
        lambda text: text.replace('"question_id": 97', '"question_id": 95'),
    )
    with pytest.raises(ValueError, match=r"item 1: question 95 is annotated twice"):
        read("okvqa", "train", root)


@pytest.mark.parametrize(
    ("file", "edit", "error"),
    [
        (
            "imgs.tsv",
            lambda old: old[:200],
            r"imgs\.tsv: ends before or in image 30000000 of .*'a1'",
        ),
        ("imgs.tsv", lambda old: "", r"imgs\.tsv: ends before or in image 30000000"),
        ("imgs.tsv", lambda old: old.replace("\t", "\t*", 1), "image 30000000 .* is no base64"),
        ("imgs.tsv", lambda old: "9" + old[1:], "at byte 0, .* is '90000000'; the two files are"),
        ("imgs.lineidx", lambda old: "", "has 0 lines, image 30000000 .* would be number 1"),
        ("imgs.lineidx", lambda old: "zero\n", r"imgs\.lineidx: not one number a line"),
    ],
)
def test_webqa_files_that_are_cut_or_do_not_fit(file, edit, error: str, root: Path) -> None:
    change(root / "webqa" / file, edit)
    dome = read("webqa", "train", root)[0]
    with pytest.raises(ValueError, match=error):
        dome.load_image()


def test_webqa_without_its_index(root: Path) -> None:
    (root / "webqa" / "imgs.lineidx").unlink()
    with pytest.raises(ValueError, match=r"imgs\.lineidx: missing, and with it the place of image"):
        read("webqa", "train", root)[0].load_image()


def test_splits_that_are_not_there(root: Path) -> None:
    with pytest.raises(ValueError, match="WebQA has no split 'dev'; there are: train, val, test"):
        read("webqa", "dev")
    with pytest.raises(ValueError, match=r"TextVQA_0\.5\.1_dev\.json: no such file"):
        read("textvqa", "dev")


def test_broken_values_are_named(root: Path) -> None:
    change(root / "oven/oven_query_val.jsonl", lambda text: text.replace("oven_00000000", "x"))
    with pytest.raises(ValueError, match=r"query_val\.jsonl:1: image_id 'x'; OVEN's are like"):
        read("oven", "query_val", root)
    path = root / "aokvqa/aokvqa_v1p0_train.json"
    change(path, lambda text: text.replace('choice_idx": 0', 'choice_idx": 4'))
    with pytest.raises(ValueError, match="item 0: correct_choice_idx is 4, of 4 choices"):
        read("aokvqa", "train", root)
    path.write_text("{}")
    with pytest.raises(ValueError, match="a dict, not the list of A-OKVQA's questions"):
        read("aokvqa", "train", root)
