import json
from dataclasses import replace

import pytest

from pixsearch.config import AnswerSpan, PolicyOptions, QueryType, to_dict
from pixsearch.datasets.masks import encode_rle
from pixsearch.evaluation.prediction import Prediction, failed_prediction
from pixsearch.evaluation.sample_scores import SCORES, read_scores
from pixsearch.evaluation.score import PREDICTIONS, RESULTS, RUNTIME, SCENES, write_results
from pixsearch.evaluation.tables import policy_table
from pixsearch.line_store import LineStore
from tests.evaluation.worlds import benchmark, box, prediction, query, sample

AFTER = AnswerSpan.after_last_search
IMAGE = QueryType.image


def run_of(world):
    return {
        "benchmark": world.identity(),
        "seed": 5,
        "num_documents": 50,
        "retrieval": {
            "min_region_side": 8,
            "region_margin": 0.1,
            "region_scales": [1.0],
            "region_blur": 0.1,
        },
    }


def save(folder, world, policies, *, masks=(), run=None, k=None):
    """Args: k: name of a policy -> how many passages its searches return."""
    run = run or run_of(world)
    scenes = LineStore(folder / SCENES, id_field="image_id", manifest={"run": run})
    rles = [encode_rle(mask) for mask in masks]
    scenes.append(
        {"image_id": "scene1", "failed": None, "masks": rles, "teacher_forced_masks": rles}
    )
    for name, predictions in policies.items():
        path = folder / PREDICTIONS / f"{name}.jsonl"
        options = PolicyOptions(name=name, k=(k or {}).get(name, 5))
        manifest = {"run": run, "policy": to_dict(options)}
        store = LineStore(path, id_field="interaction_id", manifest=manifest)
        for each in predictions:
            store.append(each.to_json())


@pytest.fixture
def world():
    return benchmark()


@pytest.fixture
def policies(world):
    a, b, c, d = world.samples
    return {
        "full": [
            prediction(a, "Osmeth", query("e1", "e2")),
            prediction(b, "I don't know", query("e2"), query("e1", kind=IMAGE)),
            prediction(c, "three"),
            prediction(d, "I do not know"),
        ],
        "whole_image": [
            prediction(a, "Osmeth", query("e1", kind=IMAGE)),
            prediction(b, "Tarn", query("e3", kind=IMAGE)),
            prediction(c, "4", query("e3", kind=IMAGE)),
            prediction(d, "5", query("e3", kind=IMAGE)),
        ],
    }


def test_scores_by_hand(tmp_path, world, policies):
    save(tmp_path, world, policies, masks=[box(0, 0, 8, 8), box(0, 10, 4, 8)])
    results = write_results(tmp_path, world, span=AFTER)
    full = results["policies"]["full"]
    assert full["overall"]["n"] == 3  # the unanswerable question is outside
    assert full["overall"]["accuracy"] == pytest.approx(2 / 3)
    assert full["overall"]["truthfulness"] == pytest.approx((2 * 2 + 1) / 3 - 1)
    assert full["egocentric"]["missing"] == 0.5
    assert full["knowledge"]["n"] == 2
    assert full["abstention"] == {"precision": 0.5, "recall": 1.0, "num_unanswerable": 1}
    assert results["search_decision"] == {"precision": 1.0, "recall": 2 / 3, "n": 4}
    assert full["recall_at_k"]["overall"]["region"] == {"recall": 0.5, "n": 2}
    assert full["recall_at_k"]["overall"]["gold_documents"] == {"recall": 1.0, "n": 2}
    assert full["query_confusion"]["none"] == {"image": 1}
    assert results["comparisons"]["full_over_whole_image"]["overall"]["estimate"] == 2
    assert results["majority_answer"] == {"accuracy": 1.0, "n": 2}
    assert results["chance_recall_at_k"] == 0.1
    assert list(results["policies"]) == ["whole_image", "full"]  # the paper's order


def test_segmentation_by_hand(tmp_path, world, policies):
    save(tmp_path, world, policies, masks=[box(0, 0, 8, 8), box(0, 10, 4, 8)])
    masks = write_results(tmp_path, world, span=AFTER)["segmentation"]
    assert masks["giou"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert masks["ciou"] == pytest.approx((64 + 32) / (64 + 64 + 64))
    assert (masks["num_missing_masks"], masks["num_surplus_masks"]) == (1, 0)
    assert masks["lookalikes"] == {"giou": 0.0, "ciou": 0.0, "n": 1}
    assert sum(scores["n"] for scores in masks["by_size"].values()) == 3


def test_empty_masks_are_counted(tmp_path, world):
    a, b, *_ = world.samples
    skipped = replace(query(), empty_mask="skip")
    answers = [prediction(a, "Osmeth", skipped, query("e1")), prediction(b, "Tarn", skipped)]
    save(tmp_path, world, {"full": answers})
    results = write_results(tmp_path, world, span=AFTER)
    assert results["policies"]["full"]["num_empty_masks"] == 2


def test_results_are_rebuilt_bit_for_bit(tmp_path, world, policies):
    save(tmp_path, world, policies)
    (tmp_path / RUNTIME).write_text(json.dumps({"seconds": 12.5}))
    write_results(tmp_path, world, span=AFTER)
    first = (tmp_path / RESULTS).read_bytes()
    (tmp_path / RESULTS).unlink()
    path = tmp_path / PREDICTIONS / "full.jsonl"
    path.write_bytes(b"".join(reversed(path.read_bytes().splitlines(keepends=True))))
    write_results(tmp_path, world, span=AFTER)
    assert (tmp_path / RESULTS).read_bytes() == first
    assert json.loads(first)["runtime_seconds"] == 12.5


def test_saved_verdicts_are_not_trusted(tmp_path, world, policies):
    lying = [replace(each, verdict="correct") for each in policies["whole_image"]]
    save(tmp_path, world, {"whole_image": lying})
    results = write_results(tmp_path, world, span=AFTER)
    assert results["policies"]["whole_image"]["overall"]["accuracy"] == pytest.approx(1 / 3)


def test_the_other_answer_span_scores_the_whole_text(tmp_path, world, policies):
    save(tmp_path, world, policies)
    results = write_results(tmp_path, world, span=AnswerSpan.all_generated)
    assert results["policies"]["full"]["overall"]["accuracy"] == 0
    assert results["protocol"]["answer_span"] == "all_generated"


def test_missing_predictions_are_wrong_and_counted(tmp_path, world, policies):
    save(tmp_path, world, {"full": policies["full"][:1]})
    full = write_results(tmp_path, world, span=AFTER)["policies"]["full"]
    assert full["num_missing_predictions"] == 3
    assert (full["overall"]["n"], full["overall"]["hallucination"]) == (3, pytest.approx(2 / 3))


def test_failed_answers_are_wrong_and_counted(tmp_path, world, policies):
    a, _, _, d = policies["full"]
    lost = [
        failed_prediction(each.interaction_id, "no image", question="", image_id=None, gold="")
        for each in policies["full"][1:3]
    ]
    save(tmp_path, world, {"full": [a, *lost, d]})
    found = write_results(tmp_path, world, span=AFTER)
    full = found["policies"]["full"]
    assert (full["num_failed"], full["num_missing_predictions"], full["num_empty_answers"]) == (
        2,
        0,
        0,
    )
    assert (full["overall"]["n"], full["overall"]["hallucination"]) == (3, pytest.approx(2 / 3))
    assert "full: 2 answers failed and count as wrong" in policy_table(found)


def test_answers_under_another_name_are_refused(tmp_path, world, policies):
    save(tmp_path, world, policies)
    for path in (tmp_path / PREDICTIONS).glob("full.*"):
        path.rename(path.with_name(path.name.replace("full", "no_text")))
    with pytest.raises(ValueError, match=r"no_text\.jsonl was made for full: rename it"):
        write_results(tmp_path, world, span=AFTER)


def test_a_ratio_to_nothing_is_null(tmp_path, world, policies):
    wrong = [replace(each, answer="no") for each in policies["whole_image"]]
    save(tmp_path, world, {"full": policies["full"], "whole_image": wrong})
    ratio = write_results(tmp_path, world, span=AFTER)["comparisons"]["full_over_whole_image"]
    assert ratio["overall"]["estimate"] is None


def test_predictions_of_another_world_are_refused(tmp_path, world, policies):
    save(tmp_path, world, policies)
    with pytest.raises(ValueError, match="holds answers to toy v1"):
        write_results(tmp_path, replace(world, fingerprint="0" * 64), span=AFTER)


def test_a_foreign_line_is_refused(tmp_path, world, policies):
    foreign = replace(policies["full"][0], interaction_id="x")
    save(tmp_path, world, {"full": [*policies["full"], foreign]})
    with pytest.raises(ValueError, match="'x' is no question of toy"):
        write_results(tmp_path, world, span=AFTER)


def test_an_empty_folder_is_refused(tmp_path, world):
    with pytest.raises(ValueError, match="has no predictions"):
        write_results(tmp_path, world, span=AFTER)


def test_predictions_survive_json(policies):
    for each in policies["full"]:
        assert Prediction.from_json(json.loads(json.dumps(each.to_json()))) == each


def test_what_was_done_to_queries_is_counted(tmp_path):
    world = benchmark()
    tiny = replace(query("e1"), type=QueryType.region, mask=encode_rle(box(2, 2, 20, 3)))
    wide = replace(tiny, mask=encode_rle(box(2, 2, 20, 8)), passage_ids=())
    failed = replace(wide, failed="no answer")
    answers = [prediction(each, "Tarn", tiny, wide, failed) for each in world.samples]
    save(tmp_path, world, {"full": answers}, masks=[])
    found = write_results(tmp_path, world, span=AFTER)["policies"]["full"]
    assert found["num_tiny_masks"] == found["num_empty_evidence"] == len(world.samples)
    assert found["num_failed_searches"] == len(world.samples)


def test_a_failed_search_is_kept_in_its_line():
    line = prediction(sample("a"), "Tarn", replace(query(), failed="no answer")).to_json()
    assert Prediction.from_json(line).queries[0].failed == "no answer"


@pytest.mark.parametrize("policy", ["full", "whole_image"])
def test_scores_of_samples_are_what_the_results_are_means_of(tmp_path, world, policies, policy):
    save(tmp_path, world, policies)
    overall = write_results(tmp_path, world, span=AFTER)["policies"][policy]["overall"]
    samples = read_scores(tmp_path, policy)
    assert list(samples) == ["a", "b", "c"]  # the unanswerable one is in no group
    assert samples["c"].slices == {"question_type": "counting", "scene_kind": "non_egocentric"}
    assert (samples["a"].cluster, samples["c"].cluster) == ("scene1", "scene2")
    for name, score in samples["a"].scores.items():
        found = [sample.scores[name] for sample in samples.values()]
        assert sum(found) / len(found) == pytest.approx(overall[name]), (name, score)


def test_scores_of_samples_that_are_none_are_named(tmp_path, world, policies):
    save(tmp_path, world, policies)
    write_results(tmp_path, world, span=AFTER)
    path = tmp_path / SCORES / "full.jsonl"
    path.write_text(path.read_text().replace('"cluster"', '"klaster"', 1))
    with pytest.raises(ValueError, match=r"full\.jsonl: 'a' has no 'cluster'; score again"):
        read_scores(tmp_path, "full")
