"""A tiny model over a tiny world, through every policy's path, killed and gone on with."""

import json
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from pixsearch.config import (
    BenchmarkOptions,
    Control,
    DetectorKind,
    DetectorOptions,
    EvaluateOptions,
    ForcedFirst,
    GenerationOptions,
    GroundingDinoOptions,
    InferOptions,
    PolicyOptions,
    RetrievalSource,
)
from pixsearch.datasets.crag_mm import CragMMQuestion
from pixsearch.datasets.crag_mm_writer import CragMMSession, write_crag_mm
from pixsearch.datasets.masks import encode_rle
from pixsearch.evaluation import Workbench, evaluate, open_benchmark, runner
from pixsearch.evaluation import workbench as workbenches
from pixsearch.evaluation.checkpoints import model_digest
from pixsearch.evaluation.mask_answers import MaskModel
from pixsearch.evaluation.report import write_report
from pixsearch.evaluation.segmentation import asked_of_scene
from pixsearch.evaluation.tables import policy_table
from pixsearch.generation.infer import infer
from pixsearch.model import PixSearch
from tests.evaluation.question_worlds import tiny_retrieval
from tests.evaluation.worlds import SIDE, box
from tests.plain import write_plain
from tests.tiny import tiny_model_folder
from tests.trajectories.dino import write_detector, write_sam

QUESTIONS = {"a": "Who made this?", "b": "What is it?", "c": "How many lamps are there?"}


def write_questions(root, *, broken=None):
    """Args: broken: the question whose picture has been cut."""
    buffer = BytesIO()
    Image.new("RGB", (SIDE, SIDE), (200, 30, 30)).save(buffer, format="PNG")
    labels = {
        "domain": "other",
        "query_category": "simple-knowledge",
        "dynamism": "static",
        "image_quality": "normal",
    }
    sessions = [
        CragMMSession(
            session_id=name,
            turns=(
                CragMMQuestion(interaction_id=name, question=question, answer="Osmeth", **labels),
            ),
            image=None if name == "c" else buffer.getvalue()[: 60 if name == broken else None],
        )
        for name, question in QUESTIONS.items()
    ]
    write_crag_mm(sessions, root / "crag_mm" / "validation.parquet")
    (root / "image.png").write_bytes(buffer.getvalue())
    (root / "manifest.json").write_text('{"seed": 7}')


def write_gold(root):
    mask = encode_rle(box(4, 4, 10, 10))
    search = {"type": "region", "entity_id": "e1", "mask": mask, "text": None}
    lines = [
        {
            "interaction_id": name,
            "image_id": None if name == "c" else "scene1",
            "scene_kind": "none" if name == "c" else "egocentric",
            "question_type": "factoid",
            "needs_search": name != "c",
            "answerable": True,
            "answer": "Osmeth",
            "aliases": [],
            "searches": [] if name == "c" else [search],
            "pair_id": None,
            "answer_kind": "country",
        }
        for name in QUESTIONS
    ]
    write_lines(root / "diagnostics.jsonl", lines)
    phrases = [
        {"phrase": name, "mask": mask, "entity_id": name, "lookalike": False, "area": 100}
        for name in ("e1", "e2", "e3")
    ]
    scene = {
        "image_id": "scene1",
        "image": "image.png",
        "question": "Mark all.",
        "phrases": phrases,
    }
    write_lines(root / "segmentation.jsonl", [scene])
    majority = {"question_type": "factoid", "answer_kind": "country", "answer": "Osmeth"}
    write_lines(root / "majority_answers.jsonl", [majority])


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluation")
    write_questions(root)
    write_gold(root)
    return EvaluateOptions(
        checkpoint=str(tiny_model_folder(root / "checkpoint")),
        output_dir=str(root / "output"),
        benchmark=BenchmarkOptions(name="crag_mm_miniature", root=str(root)),
        policy=PolicyOptions(name="whole_image", allow=[], forced_first=ForcedFirst.whole_image),
        generation=GenerationOptions(max_new_tokens=12, answer_tokens=4, batch_size=2),
        retrieval=tiny_retrieval(root),
    )


@pytest.fixture
def own(options, tmp_path):
    return replace(options, output_dir=str(tmp_path))


def files(options):
    predictions = options.output_dir + f"/predictions/{options.policy.name}.jsonl"
    return predictions, options.output_dir + "/results.json"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def without_time(path):
    lines = [json.loads(line) for line in read(path).splitlines()]
    for timed in (*lines, *(query for line in lines for query in line["queries"])):
        del timed["seconds"]
    return lines


def test_answers_are_written_scored_and_rebuilt(own):
    results = evaluate(own)
    scores = results["policies"]["whole_image"]
    assert scores["overall"]["n"] == 3
    assert scores["no_image"]["n"] == 1
    assert scores["calls_per_sample"]["egocentric"]["image"] == 1
    assert scores["calls_per_sample"]["none"]["all"] == 0
    assert results["seed"] == 7
    assert results["majority_answer"] == {"accuracy": 1.0, "n": 2}
    assert results["segmentation"]["n"] == results["teacher_forced_segmentation"]["n"] == 3
    predictions, path = files(own)
    first = read(path)
    evaluate(replace(own, score="only", checkpoint="/nowhere"))
    assert read(path) == first
    lines = without_time(predictions)
    assert {line["interaction_id"] for line in lines} == set(QUESTIONS)
    assert all(len(line["queries"]) == (line["image_id"] is not None) for line in lines)


def test_a_killed_run_goes_on_and_ends_the_same(own):
    evaluate(own)
    predictions, _ = files(own)
    whole = without_time(predictions)
    content = read(predictions)
    with open(predictions, "wb") as file:
        file.write(content[: len(content) // 2])
    evaluate(own)
    resumed = without_time(predictions)
    by_id = {line["interaction_id"]: line for line in whole}
    assert {line["interaction_id"]: line for line in resumed} == by_id


def test_another_checkpoint_starts_afresh(own, tmp_path, caplog):
    evaluate(own)
    assert "holds answers of checkpoint" not in caplog.text
    other = tiny_model_folder(tmp_path / "other", seed=1)
    evaluate(replace(own, checkpoint=str(other)))
    first, second = (model_digest(str(each))[:12] for each in (own.checkpoint, other))
    (said,) = [line.message for line in caplog.records if "holds answers of" in line.message]
    assert f"{tmp_path}/predictions holds answers of checkpoint {first}; they are set aside" in said
    assert f"for those of {other} ({second}): give each checkpoint an output_dir" in said
    predictions, _ = files(own)
    assert len(read(predictions).splitlines()) == 3
    superseded = tmp_path / "predictions" / "superseded"
    assert [path.name for path in superseded.rglob("*.jsonl")] == ["whole_image.jsonl"]


def test_a_missing_detector_is_told_before_the_checkpoint_is_loaded(own, tmp_path, monkeypatch):
    monkeypatch.setattr(runner.Workbench, "open", lambda *args, **more: pytest.fail("was loaded"))
    detector = DetectorOptions(kind=DetectorKind.miniature, folder=str(tmp_path / "none"))
    policy = PolicyOptions(
        name="pipeline",
        allow=[],
        max_searches=1,
        forced_first=ForcedFirst.region,
        detector=detector,
    )
    with pytest.raises(ValueError, match=r"none: no detector .* scripts/train_detector\.py makes"):
        evaluate(replace(own, policy=policy))
    with pytest.raises(ValueError, match=r"forced_first=region without policy\.detector"):
        evaluate(replace(own, policy=replace(policy, detector=None)))


def test_an_index_that_is_not_opened_does_not_matter(own, options):
    benchmark, workbench = open_benchmark(own.benchmark), Workbench.open(own)
    before = runner.run_identity(own, benchmark, workbench)
    unused = Path(options.retrieval.index) / "bm25"
    unused.mkdir()
    (unused / "manifest.json").write_text("{}")
    assert runner.run_identity(own, benchmark, workbench) == before
    shutil.rmtree(unused)


def test_answers_outlive_another_schedule_and_no_other_limit(own):
    evaluate(own)
    predictions = Path(files(own)[0])
    before = predictions.stat().st_ino, predictions.read_bytes()
    smaller = replace(own.generation, batch_size=1, waiting_slots=0, search_threads=2)
    evaluate(replace(own, generation=smaller))
    assert (predictions.stat().st_ino, predictions.read_bytes()) == before
    shorter = replace(own.generation, max_new_tokens=own.generation.max_new_tokens - 1)
    evaluate(replace(own, generation=shorter))
    assert list((predictions.parent / "superseded").rglob("*.jsonl"))


@pytest.mark.parametrize("control", [Control.gold_region, Control.random_region])
def test_region_controls_run(own, control):
    policy = PolicyOptions(name=control.value, control=control)
    assert evaluate(replace(own, policy=policy))["policies"][control.value]["overall"]["n"] == 3


def test_policies_share_the_model_and_the_encoded_images(own, monkeypatch):
    monkeypatch.setattr(workbenches, "_opened", {})
    encoded, encode = [], PixSearch.encode_image

    def counting(model, images):
        encoded.extend(images)
        return encode(model, images)

    monkeypatch.setattr(PixSearch, "encode_image", counting)
    fingerprint = open_benchmark(own.benchmark).fingerprint
    workbench = Workbench.open(own, fingerprint=fingerprint)
    evaluate(own)
    num_images = len(encoded)
    evaluate(replace(own, policy=PolicyOptions(name="no_search", allow=[])))
    assert Workbench.open(own, fingerprint=fingerprint) is workbench
    assert len(encoded) == num_images > 0


def test_stored_features_spare_another_run_the_encoders(own, tmp_path, monkeypatch):
    stored = replace(own, feature_store=str(tmp_path / "features"))
    monkeypatch.setattr(workbenches, "_opened", {})
    first = evaluate(stored)
    workbenches._opened.clear()
    monkeypatch.setattr(PixSearch, "encode_image", lambda *_: pytest.fail("was encoded"))
    again = evaluate(replace(stored, output_dir=str(tmp_path / "again")))
    assert again["policies"] == first["policies"]
    same, other = open_benchmark(stored.benchmark).fingerprint, "of files that were fetched again"
    found = [Workbench.open(stored, fingerprint=each).features for each in (same, other)]
    assert ["scene1" in features for features in found] == [True, False]


def test_teacher_forced_masks_have_the_images_size(own):
    model = PixSearch.from_pretrained(own.checkpoint).eval()
    scene = open_benchmark(own.benchmark).scenes[0]
    features = {}
    masks = MaskModel(model=model, options=own.generation, features=features)
    forced = masks.teacher_forced(asked_of_scene(scene)).masks
    assert [mask.shape for mask in forced] == [(SIDE, SIDE)] * 3
    assert "scene1" in features


def test_what_cannot_be_read_or_computed_fails_alone(own, tmp_path, monkeypatch):
    root = tmp_path / "world"
    root.mkdir()
    write_questions(root, broken="b")
    write_gold(root)
    picture = root / "image.png"
    whole = picture.read_bytes()
    picture.write_bytes(whole[:60])
    options = replace(own, benchmark=replace(own.benchmark, root=str(root)))
    results = evaluate(options)
    policy, masks = results["policies"]["whole_image"], results["segmentation"]
    assert (policy["num_failed"], policy["num_missing_predictions"]) == (1, 0)
    assert policy["overall"]["n"] == 3
    assert (masks["num_failed"], masks["giou"], masks["n"]) == (1, 0, 3)
    assert results["teacher_forced_segmentation"]["giou"] == 0
    told = policy_table(results).splitlines()
    assert told[-2:] == [
        f"{name}: 1 answers failed and count as wrong" for name in ("whole_image", "masks")
    ]
    lines = {line["interaction_id"]: line["failed"] for line in without_time(files(options)[0])}
    assert "image file is truncated" in lines["b"]
    assert (lines["a"], lines["c"]) == (None, None)
    assert runner._whole_image_results(open_benchmark(options.benchmark), list) == []

    picture.write_bytes(whole)
    again = replace(options, retry_failed=True)
    with monkeypatch.context() as patched:
        patched.setattr(MaskModel, "teacher_forced", lambda *_: 1 / 0)
        assert evaluate(again)["segmentation"]["num_failed"] == 1
    results = evaluate(again)
    assert results["segmentation"]["num_failed"] == 0
    assert results["policies"]["whole_image"]["num_failed"] == 1


def test_an_unknown_benchmark_is_named(own):
    with pytest.raises(ValueError, match=r"no benchmark 'x'; there are: .*crag_mm_miniature"):
        evaluate(replace(own, benchmark=replace(own.benchmark, name="x")))


def test_a_question_without_gold_is_named(own, tmp_path):
    write_questions(tmp_path)
    write_gold(tmp_path)
    path = tmp_path / "diagnostics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(ValueError, match="no gold for 'a'"):
        open_benchmark(replace(own.benchmark, root=str(tmp_path)))


def test_a_broken_line_of_gold_is_named(own, tmp_path):
    write_questions(tmp_path)
    write_gold(tmp_path)
    path = tmp_path / "diagnostics.jsonl"
    path.write_text(path.read_text().replace('"answerable"', '"answerabel"', 1))
    with pytest.raises(ValueError, match=r"diagnostics\.jsonl:1: not gold"):
        open_benchmark(replace(own.benchmark, root=str(tmp_path)))


@pytest.fixture(scope="module")
def plain(options, tmp_path_factory):
    """A plain model where a PixSearch was."""
    folder = write_plain(tmp_path_factory.mktemp("plain"))
    return replace(options, checkpoint=str(folder), output_dir=str(folder / "output"))


def test_a_plain_model_is_evaluated(plain):
    evaluate(plain)
    no_search = PolicyOptions(name="no_search", allow=[], max_searches=0)
    results = evaluate(replace(plain, policy=no_search))
    whole = results["policies"]["whole_image"]
    assert whole["overall"]["n"] == results["policies"]["no_search"]["overall"]["n"] == 3
    assert whole["calls_per_sample"]["egocentric"]["image"] == 1
    assert whole["num_missing_predictions"] == 0
    assert results["segmentation"] is results["teacher_forced_segmentation"] is None
    assert "masks: not measured" in policy_table(results)
    predictions, path = files(plain)
    lines = without_time(predictions)
    assert all(len(line["queries"]) == (line["image_id"] is not None) for line in lines)
    assert all(line["grounded"] == [] for line in lines)
    assert not Path(plain.output_dir, "segmentation").exists()
    first = read(path)
    evaluate(replace(plain, score="only"))
    assert read(path) == first
    report = write_report(
        Path(plain.output_dir),
        results,
        open_benchmark(plain.benchmark),
        knowledge_base=Path(plain.retrieval.knowledge_base),
        training={},
    )
    assert "a plain model has no masks" in report.read_text()
    assert "CRAG-MM" not in policy_table(results)  # the paper's rows are those of its PixSearch
    assert "CRAG-MM in grey" not in report.read_text()


def test_a_plain_model_is_known_by_its_template_too(plain, tmp_path):
    folder = write_plain(tmp_path / "copy")
    assert model_digest(str(folder)) == model_digest(plain.checkpoint)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert model_digest(str(folder)) != model_digest(plain.checkpoint)


def test_a_plain_model_is_refused_before_it_is_loaded(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(runner.Workbench, "open", lambda options: pytest.fail("was loaded"))
    refused = replace(plain, policy=PolicyOptions(), output_dir=str(tmp_path / "output"))
    with pytest.raises(ValueError, match="policy=full: the checkpoint is a plain 'llava' model"):
        evaluate(refused)
    assert not (tmp_path / "output").exists()


def test_a_plain_model_answers_one_question(plain, tmp_path):
    image = Path(plain.benchmark.root) / "image.png"
    asked = InferOptions(
        checkpoint=plain.checkpoint,
        question="What is it?",
        image=str(image),
        output_dir=str(tmp_path),
        policy=plain.policy,
        generation=plain.generation,
        retrieval=plain.retrieval,
    )
    trajectory = infer(asked)
    written = json.loads((tmp_path / "answer.json").read_text())
    assert written["answer"] == trajectory.answer_text
    assert [search["forced"] for search in written["searches"]] == [True]
    assert written["phrases"] == []
    with pytest.raises(ValueError, match="policy=full: the checkpoint is a plain 'llava' model"):
        infer(replace(asked, policy=PolicyOptions()))


def test_a_table_is_made_again_from_recorded_searches(own, tmp_path):
    """The same results bit for bit, with neither knowledge base nor index."""
    recording = str(tmp_path / "searches.jsonl")
    recorded = replace(own, retrieval=replace(own.retrieval, recording=recording))
    evaluate(recorded)
    replay = replace(
        recorded.retrieval, source=RetrievalSource.replay, knowledge_base="gone", index="gone"
    )
    again = replace(own, retrieval=replay, output_dir=str(tmp_path / "again"))
    evaluate(again)
    (predictions, results), (others, same) = files(recorded), files(again)
    assert without_time(predictions) == without_time(others)
    assert read(results) == read(same)


def test_the_pipeline_baseline_is_one_more_policy(own, plain, tmp_path):
    dino = GroundingDinoOptions(
        detector=str(write_detector(tmp_path / "detector")),
        segmenter=str(write_sam(tmp_path / "segmenter")),
        box_threshold=0.01,
        text_threshold=0.01,
    )
    pipeline = PolicyOptions(
        name="pipeline",
        allow=[],
        max_searches=1,
        forced_first=ForcedFirst.region,
        detector=DetectorOptions(grounding_dino=dino),
    )
    for each in (own, replace(plain, output_dir=str(tmp_path / "plain"))):
        results = evaluate(replace(each, policy=pipeline))
        scores = results["policies"]["pipeline"]
        assert scores["overall"]["n"] == 3
        assert scores["calls_per_sample"]["egocentric"]["region"] == 1
        assert scores["calls_per_sample"]["none"]["all"] == 0
    evaluate(own)  # another policy of the same run
    write_detector(tmp_path / "detector", seed=1)
    evaluate(replace(own, policy=pipeline))
    superseded = Path(own.output_dir, "predictions", "superseded")
    assert [path.name for path in superseded.rglob("*.jsonl")] == ["pipeline.jsonl"]
