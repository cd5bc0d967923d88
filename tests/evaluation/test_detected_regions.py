"""What a question names is looked for by a detector, before it is searched."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pixsearch.config import (
    DetectorKind,
    DetectorOptions,
    ForcedFirst,
    GroundingDinoOptions,
    PolicyOptions,
)
from pixsearch.evaluation import checkpoints, detected_regions
from pixsearch.evaluation.detected_regions import (
    LONGEST_PHRASE,
    detector_digest,
    detector_of,
    policy_identity,
    with_region,
)
from pixsearch.generation import Request
from tests.generation.scripted import picture
from tests.trajectories.dino import write_detector, write_sam

REQUEST = Request(id="one", question="What is the red cup?", image=picture())


@pytest.fixture
def pipeline(tmp_path):
    dino = GroundingDinoOptions(
        detector=str(write_detector(tmp_path / "detector")),
        segmenter=str(write_sam(tmp_path / "segmenter")),
        box_threshold=0.01,
        text_threshold=0.01,
    )
    return PolicyOptions(
        name="pipeline",
        allow=[],
        max_searches=1,
        forced_first=ForcedFirst.region,
        detector=DetectorOptions(grounding_dino=dino),
    )


def test_grounding_dino_is_asked_by_the_question_once_it_is_needed(pipeline, monkeypatch):
    monkeypatch.setattr(detected_regions, "_opened", {})
    request = with_region(REQUEST, detector_of(pipeline))
    (detector,) = detected_regions._opened.values()
    assert np.array_equal(
        request.find_region(), detector.masks(REQUEST.image, [REQUEST.question])[0]
    )
    asked = []
    monkeypatch.setattr(
        detector,
        "masks",
        lambda image, phrases: asked.extend(phrases) or np.zeros((1, 20, 30), bool),
    )
    with_region(Request(id="2", question="word " * 900, image=picture()), detector).find_region()
    assert len(asked[0].split()) == LONGEST_PHRASE


def test_other_policies_and_requests_without_an_image_are_left_alone(pipeline):
    assert with_region(REQUEST, detector_of(PolicyOptions())) is REQUEST
    no_image = Request(id="one", question="What is the red cup?")
    assert with_region(no_image, detector_of(pipeline)) is no_image


def test_a_policy_without_a_detector_is_refused():
    policy = PolicyOptions(name="mine", forced_first=ForcedFirst.region)
    with pytest.raises(ValueError, match=r"policy=mine: .* without policy\.detector"):
        detector_of(policy)


def test_a_retrained_detector_makes_another_policy(pipeline, tmp_path):
    assert "detector" not in policy_identity(PolicyOptions())
    before = policy_identity(pipeline)
    write_sam(tmp_path / "segmenter", seed=1)
    after = policy_identity(pipeline)
    assert after["detector"] != before["detector"]
    assert after["policy"] == before["policy"]


def test_the_miniatures_detector_is_known_by_its_weights_and_those_of_its_frozen_parts(tmp_path):
    options = DetectorOptions(kind=DetectorKind.miniature, folder=str(tmp_path))
    with pytest.raises(ValueError, match=r"policy\.detector\.folder=.*: no detector"):
        detector_digest(options)
    description = tmp_path / "detector.json"
    description.write_text(json.dumps({"words": [], "parts": str(tmp_path)}))
    weights = [tmp_path / "detector.safetensors", tmp_path / "tower" / "model.safetensors"]
    found = {detector_digest(options)}
    for path in (description, *weights):
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write(" ")
        found.add(detector_digest(options))
    assert len(found) == 4


def test_a_detector_on_the_hub_is_known_by_its_commit(monkeypatch):
    commits = {"main": "1"}
    monkeypatch.setattr(
        checkpoints,
        "describe",
        lambda name, *, revision: {"_commit_hash": commits[revision or "main"]},
    )
    options = DetectorOptions()
    before = detector_digest(options)
    commits["v2"] = "2"
    pinned = replace(options.grounding_dino, detector_revision="v2")
    assert detector_digest(replace(options, grounding_dino=pinned)) != before
    commits["main"] = "3"
    assert detector_digest(options) != before
