"""What a question names is looked for by a detector, before it is searched."""

import numpy as np
import pytest

from pixsearch.config import DetectorOptions, ForcedFirst, GroundingDinoOptions, PolicyOptions
from pixsearch.evaluation import detected_regions
from pixsearch.evaluation.detected_regions import LONGEST_PHRASE, with_region
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
    request = with_region(REQUEST, pipeline)
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
    with_region(Request(id="2", question="word " * 900, image=picture()), pipeline).find_region()
    assert len(asked[0].split()) == LONGEST_PHRASE


def test_other_policies_and_requests_without_an_image_are_left_alone(pipeline):
    assert with_region(REQUEST, PolicyOptions()) is REQUEST
    no_image = Request(id="one", question="What is the red cup?")
    assert with_region(no_image, pipeline) is no_image


def test_a_policy_without_a_detector_is_refused():
    policy = PolicyOptions(name="mine", forced_first=ForcedFirst.region)
    with pytest.raises(ValueError, match=r"policy=mine: .* without policy\.detector"):
        with_region(REQUEST, policy)
