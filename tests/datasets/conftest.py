"""Tiny files in the official layouts, written afresh for each test."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.datasets.builders import HEIGHT, WIDTH, box, save_image
from tests.datasets.make_fixtures import FIXTURES


def _ref(ref_id: int, image_id: int, split: str, *sentences: str) -> dict[str, Any]:
    return {
        "ref_id": ref_id,
        "ann_id": 100 + ref_id,
        "category_id": 1,
        "image_id": image_id,
        "file_name": f"COCO_train2014_{image_id:012d}_{100 + ref_id}.jpg",
        "split": split,
        "sent_ids": list(range(len(sentences))),
        "sentences": [
            {"raw": sent.upper(), "sent": sent, "sent_id": index, "tokens": sent.split()}
            for index, sent in enumerate(sentences)
        ],
    }


@pytest.fixture
def refcoco_root(tmp_path: Path) -> Path:
    """Two images in train (three expressions and one), one in testA; images where LISA has them."""
    root = tmp_path / "refer_seg" / "refcoco"
    root.mkdir(parents=True)
    refs = [
        _ref(0, 7, "train", "the red cup", "cup on the left"),
        _ref(1, 7, "train", "blue box"),
        _ref(2, 8, "train", "man"),
        _ref(3, 9, "testA", "woman "),
    ]
    (root / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    names = {image_id: f"COCO_train2014_{image_id:012d}.jpg" for image_id in (7, 8, 9)}
    two_parts = [*box(2, 3, 10, 6), *box(6, 3, 10, 6)]  # overlapping polygons of one object
    rle = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * 30, HEIGHT * 2]}  # the last two columns
    segmentations = [two_parts, box(20, 10, 5, 5), rle, box(0, 0, 4, 4)]
    instances = {
        "images": [
            {"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH}
            for image_id, name in names.items()
        ],
        "annotations": [
            {"id": 100 + index, "image_id": 7, "category_id": 1, "segmentation": segmentation}
            for index, segmentation in enumerate(segmentations)
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (root / "instances.json").write_text(json.dumps(instances))
    for name in names.values():
        save_image(tmp_path / "refer_seg/images/mscoco/images/train2014" / name)
    return root


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """The committed files in their official layouts, to be read and broken."""
    return Path(shutil.copytree(FIXTURES, tmp_path / "official"))
