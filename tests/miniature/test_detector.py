"""The detector of the miniature's pipeline baseline learns to find what words name."""

import numpy as np
import pytest
from PIL import Image

from pixsearch.config import MiniatureOptions, TrainDetectorOptions
from pixsearch.datasets import refcoco
from pixsearch.datasets.grammar import grounded_phrases
from pixsearch.miniature.detector import MiniatureDetector
from pixsearch.miniature.training_detector import train_detector
from pixsearch.miniature.world import build_world


def test_a_folder_without_a_detector_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"policy.detector.folder=.*scripts/train_detector.py"):
        MiniatureDetector.open(str(tmp_path))


def test_parts_that_are_not_there_are_named(tmp_path):
    options = TrainDetectorOptions(parts=str(tmp_path))
    with pytest.raises(ValueError, match="no tower/ and segmenter/"):
        train_detector(options)


@pytest.mark.slow
def test_it_finds_what_words_name_far_above_chance(tmp_path):
    world = MiniatureOptions(
        root=str(tmp_path / "world"),
        seed=6,
        num_train_scenes=100,
        num_eval_scenes=4,
        num_entities=120,
    )
    build_world(world)
    options = TrainDetectorOptions(
        miniature=world, output_dir=str(tmp_path / "detector"), steps=150, num_images=100
    )
    measured = train_detector(options)
    assert measured["n"] >= 20
    assert measured["hits"] > 3 * measured["chance"]
    detector = MiniatureDetector.open(options.output_dir)
    example = refcoco.load(tmp_path / "world" / "refcoco", "train")[0]
    phrases = grounded_phrases(example.conversation)
    found, gold = detector.masks(example.load_image(), phrases), example.load_masks()
    assert found.shape == gold.shape
    assert (found & gold).sum() > 0.3 * gold.sum()
    unknown = detector.masks(example.load_image(), ["xyzzy", phrases[0]])
    assert not unknown[0].any()
    assert np.array_equal(unknown[1], found[0])
    tall = Image.new("RGB", (40, 200), (200, 30, 30))
    assert detector.masks(tall, [phrases[0]]).shape == (1, 200, 40)
