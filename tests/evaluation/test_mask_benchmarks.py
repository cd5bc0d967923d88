"""Benchmarks of masks on the committed files: read, run by a tiny model, killed, gone on with."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixsearch.config import (
    BenchmarkOptions,
    CocoStuffClasses,
    EvaluateOptions,
    GenerationOptions,
    GroundBy,
    MaskMode,
)
from pixsearch.evaluation import evaluate, open_benchmark
from pixsearch.evaluation.mask_answers import ImageQuestion, MaskModel
from pixsearch.evaluation.mask_benchmark import ComparedSample
from pixsearch.evaluation.mask_records import NO_LABEL, MaskAnswer
from pixsearch.images import SegmenterFrame
from tests.commands import ROOT
from tests.datasets.make_fixtures import FIXTURES as COMMITTED
from tests.plain import write_plain
from tests.tiny import tiny_model, tiny_model_folder

COPY = tempfile.TemporaryDirectory()  # readers put their indexes beside the files
FIXTURES = Path(COPY.name) / "fixtures"
shutil.copytree(COMMITTED, FIXTURES)
FOLDERS = {
    "refcoco": ("refer_seg/refcoco", "train", 3),
    "grefcoco": ("refer_seg/grefcoco", "val", 4),
    "reason_seg": ("reason_seg/ReasonSeg", "train", 3),
    "ade20k": ("ade20k", "training", 2),
    "ade20k_present": ("ade20k", "training", 5),
    "coco_stuff": ("cocostuff", "train2017", 2),
    "coco_stuff_present": ("cocostuff", "train2017", 5),
}


def benchmark_options(name, root, **more):
    folder, split, _ = FOLDERS[name]
    return BenchmarkOptions(name=name, root=str(root / folder), split=split, **more)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A copy: beside label maps an index is written."""
    return Path(shutil.copytree(FIXTURES, tmp_path_factory.mktemp("files") / "fixtures"))


@pytest.fixture(scope="module")
def opened(root):
    """Opens a benchmark by its name."""
    return lambda name, **more: open_benchmark(benchmark_options(name, root, **more))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(tiny_model_folder(tmp_path_factory.mktemp("tiny")))


def run_options(checkpoint, folder, root):
    return EvaluateOptions(
        checkpoint=checkpoint,
        output_dir=str(folder / "output"),
        benchmark=benchmark_options("refcoco", root),
        generation=GenerationOptions(max_new_tokens=8, answer_tokens=4, batch_size=2),
    )


@pytest.fixture(scope="module")
def once(checkpoint, root, tmp_path_factory):
    """A run of both modes, and its results, for tests that do not change it."""
    options = run_options(checkpoint, tmp_path_factory.mktemp("once"), root)
    return options, evaluate(options)


@pytest.fixture
def own(checkpoint, root, tmp_path):
    """A run that has not begun."""
    return run_options(checkpoint, tmp_path, root)


@pytest.fixture
def finished(own, once):
    """A finished run of one's own."""
    shutil.copytree(once[0].output_dir, own.output_dir)
    return own


def lines(options, mode="free_running"):
    path = Path(options.output_dir, "masks", f"{mode}.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(options):
    """results.json and the scores of both modes."""
    folder = Path(options.output_dir)
    paths = [folder / "results.json", *sorted((folder / "scores").glob("*.jsonl"))]
    return [path.read_bytes() for path in paths]


@pytest.mark.parametrize("name", FOLDERS)
def test_samples_have_what_is_asked_and_a_target(name, opened):
    benchmark = opened(name)
    assert len(benchmark.samples) == len(benchmark.by_id) == FOLDERS[name][2]
    for sample in benchmark.samples:
        assert sample.load_image().size == (32, 24)
        target = sample.load_target()
        shape = target.shape if isinstance(target, np.ndarray) else target.masks.shape[1:]
        assert shape == (24, 32)
        for question in sample.questions:
            assert question.phrases
            assert not question.text.endswith(" ")
    assert len(opened(name, limit=1).samples) == 1


def perfect(benchmark, sample):
    """An answer whose masks are the targets."""
    target = sample.load_target()
    phrases = sample.questions[0].phrases
    frame = SegmenterFrame(size=32, resolution=32, keeps_ratio=True)
    if not isinstance(target, np.ndarray):
        return [MaskAnswer(text="", phrases=phrases, masks=(*target.masks,), mask_logits=(),
                           frame=frame)]  # fmt: skip

    def logits(name):
        padded = np.full((32, 32), -5.0, dtype=np.float32)
        padded[:24][target == benchmark.measure.class_names.index(name)] = 5.0
        return torch.from_numpy(padded)

    return [
        MaskAnswer(
            text="",
            phrases=question.phrases,
            masks=(),
            mask_logits=tuple(logits(name) for name in question.phrases),
            frame=frame,
        )
        for question in sample.questions
    ]


@pytest.mark.parametrize("name", FOLDERS)
def test_perfect_masks_score_1(name, opened):
    benchmark = opened(name)
    items = [
        ComparedSample(
            sample=sample,
            comparison=benchmark.measure.compare(sample, perfect(benchmark, sample)),
            is_answered=True,
        )
        for sample in benchmark.samples
    ]
    found = benchmark.measure.figures(items)
    assert {name: each.interval.estimate for name, each in found.items()} == dict.fromkeys(found, 1)


def test_lisas_rule_for_polygons_is_an_option(opened):
    target = opened("refcoco").samples[0].load_target().masks[0]
    compat = opened("refcoco", lisa_compat=True)
    assert compat.samples[0].load_target().masks[0].sum() == target.sum() - 36
    assert compat.identity() != opened("refcoco").identity()
    with pytest.raises(ValueError, match="lisa_compat=true: a rule for RefCOCO's polygons"):
        opened("grefcoco", lisa_compat=True)


def test_queries_of_reason_seg_are_short_or_long(opened):
    found = {sample.id: sample.slices["query"] for sample in opened("reason_seg").samples}
    assert found == {"100_1/0": "short", "200_2/0": "long", "300_3/0": "short"}


def test_all_classes_are_asked_for_in_turn(opened):
    sample = opened("ade20k", classes_per_question=40).samples[0]
    assert [len(question.phrases) for question in sample.questions] == [40, 40, 40, 30]
    labels = sample.load_target()
    assert set(np.unique(labels)) == {0, 7, 255}  # wall and bed are the classes 1 and 8


def test_lisas_classes_do_not_know_the_pixels_of_others(opened):
    names = {sample.class_name for sample in opened("coco_stuff_present").samples}
    kept = opened("coco_stuff_present", classes=CocoStuffClasses.lisa143)
    assert names == {"person", "sky-other", "wall-brick", "dog", "grass"}
    assert {sample.class_name for sample in kept.samples} == {"person", "sky", "dog", "grass"}
    mapped = opened("coco_stuff", classes=CocoStuffClasses.lisa143)
    assert mapped.samples[0].load_target()[7, 0] == NO_LABEL  # the wall of bricks


def test_unknown_and_dropped_pixels_are_background_where_present_classes_are_asked_for(opened):
    """By the rule of PLUM's script: its masks are 0 and 1, so that no pixel is its ignore_index."""
    ade20k = opened("ade20k_present")
    assert ade20k.version == 2
    bed = np.zeros((24, 32), dtype=bool)
    bed[4:12, 6:20] = True
    bed[:, :2] = True  # 48 pixels of label 0
    assert overlaps(ade20k, "bed", bed) == [[112, 160]]
    person = np.zeros((24, 32), dtype=bool)
    person[8:20, 10:16] = True
    person[6:8] = True  # 64 pixels of wall-brick, which LISA's classes leave out
    person[20:] = True  # 128 pixels without a label
    kept = opened("coco_stuff_present", classes=CocoStuffClasses.lisa143)
    assert overlaps(kept, "person", person) == [[72, 264]]


def overlaps(benchmark, class_name, mask):
    """Intersection and union of a mask for a class of the first image that has it."""
    sample = next(one for one in benchmark.samples if one.class_name == class_name)
    frame = SegmenterFrame(size=32, resolution=32, keeps_ratio=True)
    answer = MaskAnswer(text="", phrases=(class_name,), masks=(mask,), mask_logits=(), frame=frame)
    return benchmark.measure.compare(sample, [answer])["overlaps"]


def test_a_label_out_of_range_is_refused_in_one_line(tmp_path):
    shutil.copytree(FIXTURES / "ade20k", tmp_path / "ade20k")
    path = next((tmp_path / "ade20k" / "annotations" / "training").glob("*1.png"))
    pixels = np.array(Image.open(path))
    before = open_benchmark(benchmark_options("ade20k", tmp_path))
    pixels[0, 0] = 200
    Image.fromarray(pixels).save(path)
    message = r"ADE_train_00000001\.png: label 200 is no class of this data set; fetch its own"
    with pytest.raises(ValueError, match=message) as error:
        open_benchmark(benchmark_options("ade20k", tmp_path))
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=message):  # also if it got there since
        before.samples[0].load_target()


def test_both_modes_are_run_scored_and_rebuilt(once):
    own, results = once
    assert list(results["modes"]) == ["free_running", "teacher_forced"]
    for mode in results["modes"].values():
        assert mode["n"] == mode["metrics"]["giou"]["n"] == 3
        assert mode["num_failed"] == mode["num_missing_predictions"] == 0
    assert {line["id"] for line in lines(own)} == {"0/0", "0/1", "1/0"}
    assert all(len(line["overlaps"]) == 1 for line in lines(own))
    assert all("answers" in line for line in lines(own))
    forced = lines(own, "teacher_forced")
    assert [line["phrases"] for line in forced] == [["the red cup"], ["cup on the left"],
                                                    ["blue box"]]  # fmt: skip
    assert all("answers" not in line and "masks" not in line for line in forced)
    assert results["protocol"]["free_running"] != results["protocol"]["teacher_forced"]
    before = written(own)
    assert len(before) == 3
    evaluate(replace(own, score="only", checkpoint="/nowhere"))
    assert written(own) == before


def test_modes_have_files_of_their_own(once):
    folder = Path(once[0].output_dir)
    for part in ("masks", "scores"):
        assert {path.stem for path in (folder / part).glob("*.jsonl")} == {*MaskMode}


@pytest.mark.slow
def test_a_label_map_is_made_of_both_modes(own, root):
    options = replace(
        own,
        benchmark=benchmark_options("ade20k", root, classes_per_question=50, limit=1),
        generation=replace(own.generation, max_length=4000),
        keep_masks=True,
    )
    results = evaluate(options)
    forced = results["modes"]["teacher_forced"]
    assert forced["totals"]["num_masks"] == 150
    assert forced["totals"]["num_unmatched_masks"] == 0
    assert 0 <= forced["metrics"]["semseg_miou"]["value"] < 1
    (line,) = lines(options, "teacher_forced")
    assert sum(pixels for _, _, pixels in line["cells"]) == 24 * 30  # two columns are ignored
    assert line["masks"]
    assert len(lines(options)[0]["answers"]) == 3


def test_a_killed_run_goes_on_and_ends_the_same(finished):
    before = written(finished)
    path = Path(finished.output_dir, "masks", "free_running.jsonl")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    evaluate(finished)
    assert written(finished) == before
    assert len(lines(finished)) == 3


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_by_kills(once, own):
    """The run is killed whenever a line has come since, and begun again."""
    options = own
    command = [
        *[sys.executable, "scripts/evaluate.py", "benchmark=refcoco"],
        f"checkpoint={options.checkpoint}",
        f"output_dir={options.output_dir}",
        f"benchmark.root={options.benchmark.root}",
        f"benchmark.split={options.benchmark.split}",
        *["generation.max_new_tokens=8", "generation.answer_tokens=4", "generation.batch_size=2"],
    ]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    folder, num_kills = Path(options.output_dir, "masks"), 0
    while num_kills < 3:
        known = num_lines(folder)
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
        while num_lines(folder) == known and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.wait()
        num_kills += 1
    evaluate(options)
    for mode in MaskMode:
        found = sorted(lines(options, mode), key=lambda line: line["id"])
        assert found == sorted(lines(once[0], mode), key=lambda line: line["id"])
    assert written(options) == written(once[0])


def num_lines(folder):
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl"))


@pytest.mark.slow
def test_processes_share_the_samples(once, own, monkeypatch):
    found = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        found.append(evaluate(own))
    assert found[0] is None
    assert found[1]["modes"] == once[1]["modes"]
    assert len(lines(own)) == 2
    assert len(lines(own, "free_running.part-01")) == 1
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert evaluate(own) == found[1]  # gone on with by one process, which has nothing to do


def test_a_failed_sample_is_a_line_counts_as_wrong_and_is_tried_again(checkpoint, tmp_path):
    """No model is needed for images that cannot be read; the targets count all the same."""
    shutil.copytree(FIXTURES / "refer_seg", tmp_path / "refer_seg")
    options = run_options(checkpoint, tmp_path, tmp_path)
    folder = tmp_path / "refer_seg/images/mscoco/images/train2014"
    picture = folder / "COCO_train2014_000000000007.jpg"
    content = picture.read_bytes()
    picture.write_bytes(content[:20])
    modes = evaluate(options)["modes"]
    assert [mode["num_failed"] for mode in modes.values()] == [3, 3]
    giou, ciou = (modes["teacher_forced"]["metrics"][name] for name in ("giou", "ciou"))
    assert (giou["value"], giou["n"], giou["num_left_out"]) == (0, 3, 0)
    assert (ciou["value"], ciou["n"], ciou["num_left_out"]) == (0, 3, 0)
    assert "unreadable image of example '0/0'" in lines(options)[0]["failed"]
    picture.write_bytes(content)
    assert evaluate(options)["modes"]["free_running"]["num_failed"] == 3
    modes = evaluate(replace(options, retry_failed=True))["modes"]
    assert [mode["num_failed"] for mode in modes.values()] == [0, 0]
    assert len(lines(options)) == 3


def test_a_sample_that_was_not_run_is_counted_as_wrong(finished):
    path = Path(finished.output_dir, "masks", "teacher_forced.jsonl")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    mode = evaluate(replace(finished, score="only"))["modes"]["teacher_forced"]
    assert mode["num_missing_predictions"] == 1
    assert mode["metrics"]["giou"]["n"] == 3


def test_masks_of_something_else_are_refused(finished, root):
    limited = benchmark_options("refcoco", root, limit=2)
    with pytest.raises(ValueError, match=r"holds masks of refcoco v1 train \(3 samples"):
        evaluate(replace(finished, score="only", benchmark=limited))
    path = Path(finished.output_dir, "masks", "free_running.jsonl")
    path.write_text(path.read_text().replace('"0/0"', '"9/9"'))
    with pytest.raises(ValueError, match="'9/9' is no sample of refcoco"):
        evaluate(replace(finished, score="only"))


def test_masks_outlive_another_schedule_and_no_other_limit(finished):
    path = Path(finished.output_dir, "masks", "free_running.jsonl")
    before = path.stat().st_ino, path.read_bytes()
    smaller = replace(finished.generation, batch_size=1, waiting_slots=0, search_threads=2)
    evaluate(replace(finished, generation=smaller))
    assert (path.stat().st_ino, path.read_bytes()) == before
    shorter = replace(finished.generation, max_new_tokens=finished.generation.max_new_tokens - 1)
    evaluate(replace(finished, generation=shorter, mask_modes=[MaskMode.free_running]))
    assert list((path.parent / "superseded").rglob("free_running.jsonl"))


def test_official_missing_leaves_out_masks_where_a_script_does(finished, once, root):
    official = replace(finished, score="only", official_missing=True)
    results = evaluate(official)
    free, forced = results["modes"]["free_running"], results["modes"]["teacher_forced"]
    left_out = free["metrics"]["ciou"]["num_left_out"]
    assert left_out == free["totals"]["num_missing_masks"] > 0
    assert free["metrics"]["ciou"]["n"] == 3 - left_out
    before = once[1]["modes"]
    assert free["metrics"]["giou"] == before["free_running"]["metrics"]["giou"]
    assert forced == before["teacher_forced"]
    assert "leaves out phrases without a mask" in results["protocol"]["without_answer"]
    with pytest.raises(ValueError, match="no mask is missing where the answer is given"):
        evaluate(replace(official, mask_modes=[MaskMode.teacher_forced]))
    with pytest.raises(ValueError, match=r"no script that we know leaves .* out of reason_seg"):
        evaluate(replace(official, benchmark=benchmark_options("reason_seg", root)))


def test_masks_under_another_name_are_refused(finished):
    folder = Path(finished.output_dir, "masks")
    for path in folder.glob("free_running.*"):
        path.rename(folder / path.name.replace("free_running", "teacher_forced"))
    with pytest.raises(ValueError, match=r"teacher_forced\.jsonl was made for free_running"):
        evaluate(replace(finished, score="only"))


def test_another_checkpoints_masks_are_set_aside_and_named(finished, caplog):
    for path in Path(finished.output_dir, "masks").glob("*.manifest.json"):
        text = path.read_text()
        path.write_text(re.sub(r'"checkpoint": "\w+', '"checkpoint": "another', text))
    evaluate(replace(finished, mask_modes=[MaskMode.teacher_forced]))
    (said,) = [line.message for line in caplog.records if "holds answers of" in line.message]
    assert "masks holds answers of checkpoint another; they are set aside for those of" in said


def test_one_mode_alone_and_none(own):
    results = evaluate(replace(own, mask_modes=[MaskMode.teacher_forced]))
    assert list(results["modes"]) == ["teacher_forced"]
    with pytest.raises(ValueError, match="choose among free_running, teacher_forced"):
        evaluate(replace(own, mask_modes=[]))


def test_a_plain_model_has_no_masks(own, tmp_path):
    plain = replace(own, checkpoint=str(write_plain(tmp_path / "plain")))
    plain = replace(plain, policy=replace(own.policy, allow=[], max_searches=0))
    with pytest.raises(ValueError, match="is a plain model, which has no masks"):
        evaluate(plain)


@pytest.mark.slow
@pytest.mark.parametrize("ground_by", [*GroundBy])
def test_the_logits_of_both_modes_are_those_of_their_masks(ground_by, opened):
    model = tiny_model(ground_by=ground_by)
    if ground_by is GroundBy.seg:  # which then is a likely word
        model.new_rows.head_rows.data[model.new_rows.ids.index(model.config.ids.seg)] *= 50
    options = GenerationOptions(max_new_tokens=24, answer_tokens=4, batch_size=2)
    asked = [
        ImageQuestion(
            question=sample.questions[0], image_id=sample.image_id, load_image=sample.load_image
        )
        for sample in opened("refcoco").samples
    ]
    plain = MaskModel(model=model, options=options, features={})
    kept = MaskModel(model=model, options=options, features={}, keeps_logits=True)
    free = dict(plain.free_running(asked))
    assert any(answer.masks for answer in free.values())
    for found, same in [
        (free, dict(kept.free_running(asked))),
        *[({"": plain.teacher_forced(one)}, {"": kept.teacher_forced(one)}) for one in asked],
    ]:
        for id, answer in found.items():
            assert same[id].phrases == answer.phrases
            assert len(answer.phrases) == len(answer.masks) == len(same[id].mask_logits)
            assert same[id].masks == answer.mask_logits == ()
            for place, mask in enumerate(answer.masks):
                logits = same[id].logits_in_image(place, height=24, width=32)
                np.testing.assert_array_equal(logits > 0, mask)
