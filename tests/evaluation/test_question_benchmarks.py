"""Every benchmark of annotated questions, on the readers' fixtures."""

import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from pixsearch.config import BenchmarkOptions, EntityLookup, ForcedFirst, PolicyOptions
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.datasets.questions.question import OfficialFields
from pixsearch.evaluation import Workbench, evaluate
from pixsearch.evaluation.benchmarks import BENCHMARKS
from pixsearch.evaluation.question_benchmark import QuestionBenchmark
from pixsearch.evaluation.sample_scores import mean_figures, metric_scores, slice_figures
from tests.datasets.questions.make_fixtures import FIXTURES
from tests.evaluation.question_worlds import tiny_options

SPLITS = {
    "aokvqa": "train",
    "aokvqa_choice": "train",
    "encyclopedic_vqa": "val",
    "gqa": "testdev_balanced",
    "hotpotqa": "dev_fullwiki",
    "infoseek": "val",
    "musique": "dev",
    "nq_open": "dev",
    "okvqa": "train",
    "oven": "val",
    "popqa": "test",
    "textvqa": "train",
    "textvqa_ocr": "train",
    "vqav2": "val",
    "webqa": "val",
}
WITHHELD = {
    "aokvqa": "test",
    "gqa": "test_balanced",
    "hotpotqa": "test_fullwiki",
    "infoseek": "test",
    "musique": "test",
    "textvqa": "test",
    "vqav2": "test-dev",
    "webqa": "test",
}
FOLDERS = {"aokvqa_choice": "aokvqa", "textvqa_ocr": "textvqa"}
WITHOUT_IMAGES = {"hotpotqa", "musique", "nq_open", "popqa"}


def opened(name: str, root: Path = FIXTURES, **changes) -> QuestionBenchmark:
    folder = str(root / FOLDERS.get(name, name))
    changes = {"split": SPLITS[name], **changes}
    return BENCHMARKS[name](BenchmarkOptions(name=name, root=folder, **changes))


def asked(**fields) -> AnnotatedQuestion:
    given = {"id": "1", "question": "What?", "answers": ()}
    return AnnotatedQuestion(**{**given, **fields})


def perfect(name: str, question: AnnotatedQuestion) -> str:
    """An answer that all of a benchmark's metrics accept."""
    if name == "aokvqa_choice":
        return question.official.choices[question.official.correct_choice]
    if name in ("okvqa", "infoseek"):
        return next(iter(question.official.compared_answers), question.answers[0])
    return question.answers[0].replace("&&", ", ")


def means(benchmark: QuestionBenchmark, answers: list[str]) -> dict[str, float]:
    rows = list(zip(benchmark.questions, answers, strict=True))
    found = {
        name: [score for row in rows if (score := metric(*row)) is not None]
        for name, metric in benchmark.metrics.items()
    }
    return {name: sum(scores) / len(scores) for name, scores in found.items()}


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """A file of entities' titles, in Wiki6M's form."""
    titles = {"Q207123": "Rye bread", "Q244416": "Cessna 172", "Q1": "RYE BREAD", "Q6": "The Bread"}
    path = tmp_path / "titles.jsonl"
    path.write_text(
        "".join(
            json.dumps({"wikidata_id": id, "wikipedia_title": title}) + "\n"
            for id, title in titles.items()
        )
    )
    return path


def test_all_of_them_are_tested() -> None:
    of_questions = {name for name in BENCHMARKS if name in SPLITS}
    assert of_questions == SPLITS.keys()


@pytest.mark.parametrize("name", SPLITS)
def test_perfect_answers_score_one_and_empty_ones_nothing(name: str) -> None:
    benchmark = opened(name)
    stem = {"okvqa": {"vqa_accuracy_unstemmed": 0.5}}  # "france" is stemmed to "franc"
    right = [perfect(name, question) for question in benchmark.questions]
    expected = dict.fromkeys(benchmark.metrics, 1.0) | stem.get(name, {})
    assert means(benchmark, right) == pytest.approx(expected)
    assert set(means(benchmark, [" "] * len(right)).values()) == {0.0}
    assert set(means(benchmark, ["zzz"] * len(right)).values()) == {0.0}


@pytest.mark.parametrize("name", SPLITS)
def test_a_benchmark_says_what_it_is(name: str) -> None:
    benchmark = opened(name)
    assert (benchmark.name, benchmark.split, benchmark.version) == (name, SPLITS[name], 1)
    assert len(benchmark.by_id) == len(benchmark.questions)
    assert not benchmark.is_judged
    assert all(metric in " ".join(benchmark.protocol) for metric in benchmark.metrics)
    assert {"split", "prompt", "empty answers"} <= benchmark.protocol.keys()
    for question in benchmark.questions:
        assert (question.load_image is None) == (name in WITHOUT_IMAGES | {"webqa"})
        words = benchmark.prompt(question)
        assert words.startswith(question.question)
        assert words != question.question


@pytest.mark.parametrize("name", SPLITS)
def test_the_first_n_and_the_last_place(name: str) -> None:
    few, all_of_them = opened(name, limit=1), opened(name)
    assert [question.id for question in few.questions] == [all_of_them.questions[0].id]
    assert few.fingerprint == all_of_them.fingerprint
    assert all_of_them.questions[-1].id == list(all_of_them.questions)[-1].id
    with pytest.raises(IndexError):
        few.questions[1]


@pytest.mark.parametrize("name", SPLITS)
def test_a_changed_file_changes_the_fingerprint(name: str, tmp_path: Path) -> None:
    root = Path(shutil.copytree(FIXTURES, tmp_path / "fixtures"))
    benchmark = opened(name, root)
    folder = root / FOLDERS.get(name, name)
    files = {
        path for path in folder.rglob("*") if path.suffix in (".json", ".jsonl", ".csv", ".tsv")
    }
    for path in files:
        old = path.read_text()
        path.write_text(old.replace('{"', '{ "', 1) if path.suffix == ".jsonl" else old + "\n")
    assert opened(name, root).fingerprint != benchmark.fingerprint


@pytest.mark.parametrize("name", WITHHELD)
def test_without_answers_there_are_no_scores(name: str) -> None:
    benchmark = opened(name, split=WITHHELD[name])
    assert (benchmark.metrics, benchmark.totals) == ({}, {})
    assert "withholds" in benchmark.protocol["scores"]
    assert "scores" not in opened(name).protocol


def test_words_in_the_image_are_a_benchmark_of_their_own(tmp_path: Path) -> None:
    plain, with_words = opened("textvqa"), opened("textvqa_ocr")
    assert "Reference OCR token: STOP, BAKERY\n" in with_words.prompt(with_words.questions[0])
    assert "STOP" not in plain.prompt(plain.questions[0])
    assert plain.prompt_version != with_words.prompt_version
    assert "not in the prompt" in plain.protocol["words in the image"]
    with pytest.raises(
        ValueError, match=r"Rosetta_OCR_v0\.2_val\.json: no such file, and no words"
    ):
        opened("textvqa_ocr", split="val")


CASES = {
    "textvqa": (
        asked(answers=("pepsi",) * 7 + ("Dr. Pepper",) * 3),
        "dr pepper",
        {"evalai_accuracy": 0.9, "em": 1.0, "f1": 1.0},
    ),
    "okvqa": (  # what is compared is stemmed, the answer is not
        asked(
            answers=("surfing",) * 10,
            official=OfficialFields(compared_answers=("surf",) * 8 + ("surfing", "wave")),
        ),
        "surfing",
        {"vqa_accuracy": 0.3, "vqa_accuracy_unstemmed": 1.0},
    ),
    "vqav2": (
        asked(answers=("2",) * 2 + ("three",) * 8),
        "Two",
        {"vqa_accuracy": 0.6, "evalai_accuracy": 0.6},
    ),
    "gqa": (
        asked(answers=("yes",)),
        "Yes.",
        {"gqa_accuracy": 0.0, "gqa_accuracy_caseless": 1.0},
    ),
    "aokvqa": (
        asked(answers=("red",) * 2 + ("Red",) * 8, labels=(("difficult_direct_answer", "false"),)),
        "red",
        {"direct_answer_accuracy": 2 / 3, "direct_answer_accuracy_normalised": 1.0},
    ),
    "aokvqa_choice": (
        asked(official=OfficialFields(choices=("car", "bus", "tram", "bike"), correct_choice=1)),
        "B. bus",
        {"multiple_choice_accuracy": 1.0, "multiple_choice_accuracy_verbatim": 0.0},
    ),
    "infoseek": (  # of the range 9.0 to 11.0
        asked(
            answers=("10",),
            labels=(("data_split", "val_unseen_entity"), ("question_type", "Numerical")),
            official=OfficialFields(answer_range=(9.0, 11.0)),
        ),
        "about 10.9 m",
        {"em": 1.0, "f1": 1.0},
    ),
    "oven": (asked(answers=("Boeing 737",)), "a 737", {"em": 0.0, "f1": 2 / 3}),
    "encyclopedic_vqa": (
        asked(answers=("deer&&elk",), labels=(("question_type", "multi_answer"),)),
        "Deer, elk and moose",
        {"em": 1.0},
    ),
    "webqa": (
        asked(answers=("The wall is red",), labels=(("Qcate", "color"),)),
        "It is red and blue.",
        {"webqa_local_accuracy": 2 / 3},
    ),
    "hotpotqa": (
        asked(answers=("yes",)),
        "yes it is",
        {"em": 0.0, "f1": 0.5, "hotpotqa_f1": 0.0},
    ),
    "nq_open": (
        asked(answers=("Beyonc\u00e9",)),
        "Beyonce\u0301",
        {"em": 0.0, "f1": 0.0, "nq_open_em": 1.0},
    ),
    "popqa": (
        asked(answers=("Tarn", "no")),
        "no politician\nof Ro",
        {
            "em": 0.0,
            "f1": 0.4,
            "popqa_accuracy": 1.0,
            "flashrag_f1": 0.0,
            "flashrag_accuracy": 1.0,
        },
    ),
    "musique": (
        asked(answers=("President Abel", "Abel Tarn")),
        "Abel Tarn of Ro",
        {"em": 0.0, "f1": 2 / 3, "musique_f1": 2 / 3},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_case_by_hand(name: str) -> None:
    question, answer, expected = CASES[name]
    found = {metric: score(question, answer) for metric, score in opened(name).metrics.items()}
    assert found == pytest.approx(expected)


def test_difficult_questions_of_aokvqa_are_left_out() -> None:
    difficult = asked(answers=("red",) * 10, labels=(("difficult_direct_answer", "true"),))
    for metric in opened("aokvqa").metrics.values():
        assert metric(difficult, "red") is metric(difficult, "") is None


def test_infoseek_joins_its_splits_by_their_harmonic_mean() -> None:
    benchmark = opened("infoseek")
    number, year = benchmark.questions  # of unseen_entity, and of unseen_question
    again = [number, dataclasses.replace(number, id="2"), year]
    total = benchmark.totals["infoseek"](again, ["4.4 tonnes", None, "1970"])
    assert total["unseen_entity"]["all"] == {"mean": 0.5, "n": 2, "num_missing": 1}
    assert total["unseen_entity"]["numerical"]["mean"] == 0.5
    assert total["unseen_question"]["time"] == {"mean": 1.0, "n": 1, "num_missing": 0}
    assert total["final"] == pytest.approx(2 / 3)
    assert benchmark.totals["infoseek"](again[1:], ["4.4", "1970"])["final"] == 1.0


def test_infoseeks_empty_answer_is_not_zero() -> None:
    """Its script reads no number as 0."""
    benchmark = opened("infoseek")
    number = benchmark.questions[0]
    with_zero = dataclasses.replace(number, official=OfficialFields(answer_range=(-1.0, 1.0)))
    assert benchmark.metrics["em"](with_zero, "") == 0.0
    assert benchmark.metrics["em"](with_zero, "no idea") == 1.0
    entity = benchmark.totals["infoseek"]([with_zero], [""])["unseen_entity"]["all"]
    assert entity["mean"] == 0.0


def test_infoseeks_files_of_different_releases() -> None:
    number, year = opened("infoseek").questions
    em = opened("infoseek").metrics["em"]
    with pytest.raises(ValueError, match="is numerical and has no range"):
        em(dataclasses.replace(number, official=OfficialFields()), "4")
    with pytest.raises(ValueError, match="is time and has a range"):
        em(dataclasses.replace(number, labels=year.labels), "4")
    with pytest.raises(ValueError, match="has the data_split 'train'"):
        em(dataclasses.replace(year, labels=(("data_split", "train"),)), "4")
    with pytest.raises(ValueError, match=r"split=train: InfoSeek is asked on val, test, human"):
        opened("infoseek", split="train")


def test_ovens_answers_are_looked_up_by_their_titles(names: Path) -> None:
    options = {"entity_names": str(names), "entity_lookup": EntityLookup.exact_title}
    benchmark = opened("oven", **options)
    entity, query = benchmark.questions  # of entity_val, seen; of query_val, unseen
    total = benchmark.totals["oven"]([entity, query], ["cessna  172", "the bread"])
    assert total["entity"]["seen"] == {"mean": 1.0, "n": 1, "num_missing": 0}
    assert total["query"]["unseen"] == {"mean": 0.0, "n": 1, "num_missing": 0}
    assert (total["num_named"], total["final"]) == (2, None)  # none of entity_val is unseen
    spelt = benchmark.totals["oven"]([query], ["Rye bread"])  # not "RYE BREAD"
    assert spelt["query"]["unseen"]["mean"] == 1.0
    assert benchmark.totals["oven"]([query], ["bread of rye"])["num_named"] == 0


def test_ovens_answers_are_looked_up_by_bm25(names: Path) -> None:
    benchmark = opened("oven", entity_names=str(names))
    entity, query = benchmark.questions
    total = benchmark.totals["oven"]([entity, query], ["a small Cessna plane", None])
    assert total["entity"]["seen"]["mean"] == 1.0
    assert total["query"]["unseen"] == {"mean": 0.0, "n": 1, "num_missing": 1}
    assert benchmark.totals["oven"]([entity], ["zzz"])["entity"]["seen"]["mean"] == 0.0
    digest = hashlib.sha256(names.read_bytes()).hexdigest()
    assert f"bm25 of titles.jsonl (SHA-256 {digest})" in benchmark.protocol["oven"]


def test_ovens_official_score_is_not_made_up(names: Path) -> None:
    benchmark = opened("oven")
    assert not benchmark.totals
    assert "set benchmark.entity_names" in benchmark.protocol["oven"]
    total = opened("oven", entity_names=str(names)).totals["oven"]
    question = opened("oven").questions[0]
    names.write_text('{"wikidata_id": "Q1"}\n')
    with pytest.raises(ValueError, match=r"titles\.jsonl:1: lacks wikipedia_title"):
        total([question], ["Cessna"])
    names.write_text("{\n")
    with pytest.raises(ValueError, match=r"titles\.jsonl:1: not JSON"):
        total([question], ["Cessna"])
    names.unlink()
    with pytest.raises(ValueError, match=r"titles\.jsonl: no such file"):
        total([question], ["Cessna"])


def test_ovens_entities_are_looked_at_when_it_is_opened(names: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere.jsonl: no such file; data/README.md says"):
        opened("oven", entity_names=str(names.with_name("nowhere.jsonl")))
    names.write_text("")
    with pytest.raises(ValueError, match=r"titles.jsonl: no entity in it"):
        opened("oven", entity_names=str(names))


UNSCORABLE = [
    ("infoseek", "infoseek_val_qtype.jsonl", "Numerical", "String", "is string and has a range"),
    ("infoseek", "infoseek_val.jsonl", "val_unseen_entity", "train", "has the data_split 'train'"),
    ("webqa", "WebQA_train_val.json", ': "text"', ': "texts"', "'a3' has the Qcate 'texts'; there"),
    ("aokvqa_choice", "aokvqa_v1p0_train.json", 'idx": 0', 'idx": null', "no correct_choice_idx"),
    ("encyclopedic_vqa", "val.csv", "deer&&elk|red deer&&elk", "the&&a", "empty once normalised"),
]


@pytest.mark.parametrize(("name", "file", "old", "new", "message"), UNSCORABLE)
def test_what_cannot_be_scored_is_refused_before_anything_is_answered(
    name: str, file: str, old: str, new: str, message: str, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(FIXTURES, tmp_path / "fixtures"))
    path = root / FOLDERS.get(name, name) / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        opened(name, root)
    assert "\n" not in str(error.value)


def test_a_question_without_an_answer_among_others_that_have_one(tmp_path: Path) -> None:
    root = Path(shutil.copytree(FIXTURES, tmp_path / "fixtures"))
    path = root / "textvqa" / "TextVQA_0.5.1_train.json"
    content = json.loads(path.read_text())
    content["data"][1]["answers"] = []
    path.write_text(json.dumps(content))
    message = r"1 of \d questions of textvqa \(train\) have no answer, '"
    with pytest.raises(ValueError, match=message):
        opened("textvqa", root)


def test_encyclopedic_vqa_parts_one_hop_from_two() -> None:
    benchmark = opened("encyclopedic_vqa")
    total = benchmark.totals["encyclopedic_vqa_em"](benchmark.questions, ["20 m", None, "1712"])
    assert total == {
        "single_hop": {"mean": 0.5, "n": 2, "num_missing": 1},
        "two_hop": {"mean": 1.0, "n": 1, "num_missing": 0},
    }
    nothing = asked(answers=("the",), labels=(("question_type", "templated"),))
    assert benchmark.metrics["em"](nothing, "the") is None


@pytest.mark.parametrize("name", SPLITS)
def test_its_figures_are_computed_and_can_be_written(name: str, names: Path) -> None:
    benchmark = opened(name, **({"entity_names": str(names)} if name == "oven" else {}))
    questions = benchmark.questions
    answers = {question.id: perfect(name, question) for question in list(questions)[1:]}
    samples = metric_scores(benchmark, answers, official_missing=False)
    figures = mean_figures(samples)
    assert figures.keys() == benchmark.metrics.keys()
    assert all(figure["n"] == len(questions) for figure in figures.values())
    assert slice_figures(samples).keys() == dict(questions[0].labels).keys()
    given = [answers.get(question.id) for question in questions]
    totals = {metric: total(questions, given) for metric, total in benchmark.totals.items()}
    assert json.loads(json.dumps(totals)) == totals


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory):
    options = tiny_options(tmp_path_factory.mktemp("bench"))
    return options, Workbench.open(options)


@pytest.mark.slow
def test_a_tiny_model_is_evaluated_on_oven(bench, names: Path, tmp_path: Path) -> None:
    """Its answers are nonsense; what is searched with are the questions, without words around."""
    options, workbench = bench
    benchmark = BenchmarkOptions(
        name="oven", root=str(FIXTURES / "oven"), split="val", entity_names=str(names)
    )
    policy = PolicyOptions(name="text_query", allow=[], forced_first=ForcedFirst.text_query)
    changes = {"benchmark": benchmark, "policy": policy, "output_dir": str(tmp_path)}
    results = evaluate(dataclasses.replace(options, **changes), workbench)["policies"]["text_query"]
    assert results["metrics"].keys() == {"em", "f1"}
    assert results["totals"]["oven"]["entity"]["seen"]["n"] == 1
    lines = (tmp_path / "predictions" / "text_query.jsonl").read_text().splitlines()
    asked = {query["text"] for line in lines for query in json.loads(line).get("queries", ())}
    assert asked == {"what is the model of this aircraft?"}


def test_a_set_without_a_question(tmp_path: Path) -> None:
    (tmp_path / "nq_open").mkdir()
    (tmp_path / "nq_open" / "NQ-open.dev.jsonl").write_text("")
    with pytest.raises(ValueError, match="nq_open has no question in dev"):
        opened("nq_open", tmp_path)
