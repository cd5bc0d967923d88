"""Grounding DINO and SAM, against what transformers itself computes."""

import copy
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
    SamModel,
    SamProcessor,
)

from pixsearch.config import GroundingDinoOptions
from pixsearch.trajectories.grounder import PhraseGrounder
from pixsearch.trajectories.grounding_dino import GroundingDino
from tests.trajectories.dino import write_detector, write_sam

PHRASES = ("The red cup", "a dog", "left box")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("dino")
    return {
        "detector": str(write_detector(root / "detector")),
        "segmenter": str(write_sam(root / "segmenter")),
    }


@pytest.fixture(scope="module")
def image() -> Image.Image:
    drawn = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return Image.fromarray(drawn)


def grounder(folders: dict[str, str], **options: object) -> GroundingDino:
    """One with these options, whose models are loaded once."""
    opened = copy.copy(loaded(**folders))
    opened._options = GroundingDinoOptions(**folders, **options)
    return opened


@functools.cache
def loaded(**folders: str) -> GroundingDino:
    return GroundingDino(GroundingDinoOptions(**folders))


def detected(folder: str, image: Image.Image, text: str, words: slice, threshold: float):
    """Boxes as transformers' own post-processing has them, other phrases' words being hidden."""
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    inputs = processor(images=image, text=text, return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
    own = torch.full_like(outputs.logits, -torch.inf)
    own[..., words] = outputs.logits[..., words]
    outputs.logits = own
    (result,) = processor.post_process_grounded_object_detection(
        outputs, inputs["input_ids"], threshold, 0.25, [(image.height, image.width)]
    )
    return result["boxes"][result["scores"].argsort(descending=True, stable=True)]


def test_boxes_and_masks_are_those_of_transformers(folders, image) -> None:
    text, places = "the red cup. a dog. left box.", (slice(1, 4), slice(5, 7), slice(8, 10))
    ours = grounder(folders, box_threshold=0.5, every_box=True)
    boxes = ours.boxes(image, PHRASES)
    theirs = [detected(folders["detector"], image, text, place, 0.5) for place in places]
    assert all(0 < len(some) < 12 for some in theirs)
    for some, others in zip(boxes, theirs, strict=True):
        torch.testing.assert_close(some, others)

    processor = SamProcessor.from_pretrained(folders["segmenter"])
    model = SamModel.from_pretrained(folders["segmenter"]).eval()
    inputs = processor(image, input_boxes=[theirs[0].tolist()], return_tensors="pt")
    sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
    inputs["input_boxes"] = inputs["input_boxes"].float()
    with torch.inference_mode():
        outputs = model(**inputs, multimask_output=False)
    (in_boxes,) = processor.post_process_masks(outputs.pred_masks, *sizes)
    masks = ours.masks(image, PHRASES)
    assert masks.shape == (3, 60, 80)
    assert np.array_equal(masks[0], in_boxes[:, 0].any(dim=0).numpy())


def test_the_best_box_alone_is_taken_unless_all_are_asked_for(folders, image) -> None:
    best, every = grounder(folders), grounder(folders, every_box=True)
    for one, all_of_them in zip(*(g.boxes(image, PHRASES) for g in (best, every)), strict=True):
        assert torch.equal(one, all_of_them[:1])
    alone = best.masks(image, PHRASES)
    assert alone.any()
    assert (alone <= every.masks(image, PHRASES)).all()


def test_a_phrase_without_a_box_has_an_empty_mask(folders, image) -> None:
    phrases = ("the lid", "", "?!.", "zzz")  # the last is unknown to the tokenizer
    ours = grounder(folders)
    assert [len(boxes) for boxes in ours.boxes(image, phrases)] == [1, 0, 0, 0]
    masks = ours.masks(image, phrases)
    assert [bool(mask.any()) for mask in masks] == [True, False, False, False]
    nothing = grounder(folders, box_threshold=0.999999999)
    assert not nothing.masks(image, PHRASES).any()
    assert nothing.masks(image, ()).shape == (0, 60, 80)


def test_words_that_score_too_little_show_nothing(folders, image) -> None:
    boxes = grounder(folders, every_box=True, box_threshold=0.01).boxes(image, PHRASES)
    fewer = grounder(folders, every_box=True, box_threshold=0.01, text_threshold=0.9)
    assert sum(map(len, fewer.boxes(image, PHRASES))) < sum(map(len, boxes))


def test_full_stops_inside_a_phrase_end_no_phrase(folders, image) -> None:
    ours = grounder(folders)
    plain, dotted = (ours.boxes(image, (p, "a dog")) for p in ("red cup", "red. cup?"))
    assert all(torch.equal(one, other) for one, other in zip(plain, dotted, strict=True))


def test_both_image_encoders_run_once(folders, image) -> None:
    ours, calls = grounder(folders), []
    hooks = [
        encoder.register_forward_hook(lambda *_, name=name: calls.append(name))
        for name, encoder in (
            ("detector", ours._detector.model.backbone),
            ("segmenter", ours._segmenter.vision_encoder),
        )
    ]
    ours.masks(image, PHRASES)
    for hook in hooks:
        hook.remove()
    assert calls == ["detector", "segmenter"]


def test_a_text_longer_than_the_detector_reads_is_parted(tmp_path: Path, folders, image) -> None:
    short = folders | {"detector": str(write_detector(tmp_path, max_text_len=8))}
    ours = grounder(short, every_box=True, box_threshold=0.5)
    boxes = ours.boxes(image, PHRASES)  # 4 + 3 and 3 tokens, where 6 are read
    alone = [ours.boxes(image, (phrase,))[0] for phrase in PHRASES]
    assert torch.equal(boxes[0], alone[0])
    together = ours.boxes(image, PHRASES[1:])
    assert all(torch.equal(one, other) for one, other in zip(boxes[1:], together, strict=True))
    with pytest.raises(
        ValueError, match=r"the phrase 'the red cup the red cup' has 6 tokens; 5 are read"
    ):
        ours.boxes(image, ("the red cup the red cup",))


def test_what_cannot_be_loaded_is_named_in_one_line(tmp_path: Path, folders) -> None:
    with pytest.raises(ValueError, match=r"cannot be loaded for grounding_dino") as raised:
        grounder(folders | {"detector": str(tmp_path / "away")})
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=r"box_threshold=1\.5: between 0 and 1"):
        GroundingDinoOptions(box_threshold=1.5)
    weights = write_sam(tmp_path / "sam") / "model.safetensors"
    _drop_a_weight(weights)
    with pytest.raises(ValueError, match="its weights lack"):
        grounder(folders | {"segmenter": str(weights.parent)})


def test_it_is_a_grounder(folders) -> None:
    assert isinstance(grounder(folders), PhraseGrounder)


def _drop_a_weight(path: Path) -> None:
    weights = load_file(path)
    weights.pop("mask_decoder.iou_prediction_head.proj_in.weight")
    save_file(weights, path, metadata={"format": "pt"})
