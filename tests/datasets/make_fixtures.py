"""Writes tests/datasets/fixtures/: a few tiny images of each data set in its official layout.

    python -m tests.datasets.make_fixtures

Test images are drawn here; nothing is taken from the data sets but their formats and class names.
"""

import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixsearch.datasets.masks import encode_rle
from tests.datasets.builders import HEIGHT, WIDTH, box

FIXTURES = Path(__file__).with_name("fixtures")
SIZE = {"height": HEIGHT, "width": WIDTH}


def make(root: Path) -> None:
    """Write all of them under `root`."""
    for write in (
        *(ade20k, coco_stuff, part_imagenet, paco_lvis, pascal_part),
        *(reason_seg, refcoco, grefcoco, llava, own),
    ):
        write(root)


def ade20k(root: Path) -> None:
    """Two images to train on, one of them with a border of unknown class; one to validate."""
    folder = root / "ade20k"
    first = labels(1)  # wall
    first[4:12, 6:20] = 8  # bed
    first[:, :2] = 0  # other
    second = labels(3)  # sky
    second[10:, :] = 10  # grass
    second[2:8, 20:30] = 5  # tree
    for split, name, pixels in (
        ("training", "ADE_train_00000001", first),
        ("training", "ADE_train_00000002", second),
        ("validation", "ADE_val_00000001", first[::-1]),
    ):
        picture(folder / "images" / split / f"{name}.jpg")
        label_map(folder / "annotations" / split / f"{name}.png", pixels)


def coco_stuff(root: Path) -> None:
    """A person before a brick wall under the sky, partly unlabelled; and a dog on grass."""
    first = labels(170)  # wall-brick
    first[:6] = 156  # sky-other
    first[8:20, 10:16] = 0  # person
    first[20:, :] = 255
    second = labels(123)  # grass
    second[10:16, 10:20] = 17  # dog
    for name, pixels in (("000000000009", first), ("000000000025", second)):
        picture(root / "coco" / "train2017" / f"{name}.jpg")
        label_map(root / "cocostuff" / "train2017" / f"{name}.png", pixels)


def part_imagenet(root: Path) -> None:
    """A quadruped with head and body, and a car with a tyre."""
    first = labels(40)
    first[4:10, 4:10] = 0  # Quadruped Head
    first[6:16, 10:24] = 1  # Quadruped Body
    second = labels(40)
    second[6:14, 4:28] = 24  # Car Body
    second[14:18, 6:10] = 25  # Car Tier
    folder = root / "partimagenet"
    for name, pixels in (("n02112137_1", first), ("n03670208_7", second)):
        picture(folder / "images" / "train" / f"{name}.JPEG")
        label_map(folder / "annotations" / "train" / f"{name}.png", pixels)


def paco_lvis(root: Path) -> None:
    """On the images of COCO-Stuff: two mugs with their handles, and a trash can."""
    names = ["mug", "trash_can", "mouse_(computer_equipment)", "mug:handle", "trash_can:inner_body"]
    annotations = [
        (9, 0, box(2, 2, 8, 8)),
        (9, 0, box(20, 2, 6, 8)),
        (9, 3, box(8, 4, 2, 4)),
        (9, 3, run_lengths(24, 4, 2, 4)),
        (25, 1, box(4, 4, 12, 16)),
        (25, 4, box(6, 6, 8, 12)),
        (25, 2, run_lengths(24, 18, 4, 4)),
    ]
    content = coco(
        [(9, "train2017/000000000009.jpg"), (25, "train2017/000000000025.jpg")], names, annotations
    )
    write_json(root / "vlpart" / "paco" / "annotations" / "paco_lvis_v1_train.json", content)


def pascal_part(root: Path) -> None:
    """A dog with its head and two legs, as VLPart writes them."""
    folder = root / "vlpart" / "pascal_part"
    annotations = [
        (1, 0, run_lengths(4, 4, 8, 6)),
        (1, 1, run_lengths(6, 12, 2, 8)),
        (1, 1, run_lengths(14, 12, 2, 8)),
    ]
    content = coco([(1, "2008_000002.jpg")], ["dog:head", "dog:leg"], annotations)
    write_json(folder / "train.json", content)
    picture(folder / "VOCdevkit" / "VOC2010" / "JPEGImages" / "2008_000002.jpg")


def reason_seg(root: Path) -> None:
    """A phrase, a sentence in two wordings with an explanation, and a file in cp1252."""
    folder = root / "reason_seg" / "ReasonSeg"
    inner = shape("ignore", 8, 8, 11, 11)
    flag = shape("flag", 0, 0, 31, 23)
    queries = {
        "100_1": query(["the thing to sit on"], False, inner, shape("target", 4, 4, 15, 15), flag),
        "200_2": query(
            ["What would one drink from?", "What holds the tea?"],
            True,
            shape("target", 2, 2, 9, 9),
            shape("target", 20, 2, 25, 9),
        ),
        "300_3": query(["the caf\u00e9's sign"], False, shape("target", 0, 0, 5, 5)),
    }
    for name, content in queries.items():
        encoding = "cp1252" if name == "300_3" else "utf-8"
        path = folder / "train" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
        picture(path.with_suffix(".jpg"))
    explanation = {
        "image": "200_2.jpg",
        "query": "What would one drink from?",
        "outputs": "The two cups hold tea.",
    }
    write_json(folder / "explanatory" / "train.json", [explanation])


def refcoco(root: Path) -> None:
    """An image with two objects, one of two overlapping polygons; and one in testA."""
    folder = root / "refer_seg" / "refcoco"
    refs = [
        ref(0, 7, "train", "the red cup", "cup on the left"),
        ref(1, 7, "train", "blue box"),
        ref(2, 9, "testA", "woman "),
    ]
    segmentations = [[*box(2, 3, 10, 6), *box(6, 3, 10, 6)], box(20, 10, 5, 5), box(0, 0, 4, 4)]
    images = [(image_id, f"COCO_train2014_{image_id:012d}.jpg") for image_id in (7, 9)]
    annotations = [
        (each["image_id"], 0, segmentation)
        for each, segmentation in zip(refs, segmentations, strict=True)
    ]
    write_json(folder / "instances.json", coco(images, ["thing"], annotations))
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    for _, name in images:
        picture(root / "refer_seg/images/mscoco/images/train2014" / name)


def grefcoco(root: Path) -> None:
    """On the images of RefCOCO: an expression of two objects, of one, and two of nothing."""
    folder = root / "refer_seg" / "grefcoco"
    objects = [(7, 0, box(2, 3, 10, 6)), (7, 0, box(20, 10, 5, 5)), (9, 0, box(0, 0, 4, 4))]
    named = [(7, [0, 1], "cup and box"), (9, [2], "the woman"), (9, [-1], "a dog", "any cat")]
    refs = []
    for place, (image_id, ann_ids, *sentences) in enumerate(named):
        several = {"ann_id": ann_ids, "category_id": [1] * len(ann_ids), "no_target": -1 in ann_ids}
        refs.append(ref(place, image_id, "val", *sentences) | several)
    images = [(image_id, f"COCO_train2014_{image_id:012d}.jpg") for image_id in (7, 9)]
    write_json(folder / "instances.json", coco(images, ["thing"], objects))
    write_json(folder / "grefs(unc).json", refs)


def llava(root: Path) -> None:
    """An image of COCO, one that is not of COCO, and a conversation without an image."""
    folder = root / "llava"
    items = [
        {"id": "9", "image": "coco/train2017/9.jpg", "conversations": talk("<image>\nWho?", "Me.")},
        {"id": "b", "image": "gqa/images/5.jpg", "conversations": talk("What?\n<image>", "A cup.")},
        {"id": "c", "conversations": talk("What is an <image> tag?", "A part of HTML.")},
    ]
    write_json(folder / "llava_v1_5_mix665k.json", items)
    picture(folder / "images" / "coco/train2017/9.jpg")
    picture(folder / "images" / "gqa/images/5.jpg")


def own(root: Path) -> None:
    """One's own folder: a phrase, a category, and a crowd of unknown label."""
    folder = root / "own" / "masks"
    content = coco(
        [(1, "a.png")],
        ["screw"],
        [(1, 0, box(0, 0, 4, 4)), (1, 0, box(10, 10, 2, 2)), (1, 0, box(20, 0, 4, 4))],
    )
    content["annotations"][1]["phrase"] = "the rusty nut"
    content["annotations"][2]["iscrowd"] = 1
    write_json(folder / "train.json", content)
    picture(folder / "images" / "a.png")


def labels(label: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), label, dtype=np.uint8)


def label_map(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def picture(path: Path) -> None:
    """A ramp of colours, other ones for each file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    planes = [rows * 10, columns * 7, np.full_like(rows, sum(path.name.encode()) % 256)]
    Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8)).save(path)


def run_lengths(x: int, y: int, width: int, height: int) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y : y + height, x : x + width] = True
    return encode_rle(mask)


def coco(images: list, names: list[str], annotations: list) -> dict[str, Any]:
    """Of images (id, file name) and annotations (image's id, place of the category, mask)."""
    return {
        "images": [{"id": id, "file_name": name, **SIZE} for id, name in images],
        "categories": [{"id": place + 1, "name": name} for place, name in enumerate(names)],
        "annotations": [
            {"id": id, "image_id": image, "category_id": place + 1, "segmentation": segmentation}
            for id, (image, place, segmentation) in enumerate(annotations)
        ],
    }


def shape(label: str, left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    """With the corners on pixels that it covers."""
    points = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return {"label": label, "points": points}


def query(text: list[str], is_sentence: bool, *shapes: dict[str, Any]) -> dict[str, Any]:
    return {"text": text, "is_sentence": is_sentence, "shapes": list(shapes)}


def ref(place: int, image_id: int, split: str, *sentences: str) -> dict[str, Any]:
    return {
        "ref_id": place,
        "ann_id": place,
        "category_id": 1,
        "image_id": image_id,
        "file_name": f"COCO_train2014_{image_id:012d}_{place}.jpg",
        "split": split,
        "sent_ids": list(range(len(sentences))),
        "sentences": [
            {"raw": sent.upper(), "sent": sent, "sent_id": index, "tokens": sent.split()}
            for index, sent in enumerate(sentences)
        ],
    }


def talk(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    if FIXTURES.exists():
        shutil.rmtree(FIXTURES)
    make(FIXTURES)
    sys.stdout.write(f"{FIXTURES}\n")
