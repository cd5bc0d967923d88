"""Every reader of stage 1 on the committed files in its official layout: counts, masks, words."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixsearch.chat import Grounded
from pixsearch.config import DatasetOptions
from pixsearch.datasets import coco_stuff, open_dataset
from pixsearch.datasets.class_maps import class_names
from pixsearch.datasets.example import Example
from pixsearch.datasets.grammar import check_conversation, grounded_phrases
from tests.datasets.builders import HEIGHT, WIDTH
from tests.datasets.make_fixtures import FIXTURES, make

# reader, root, split: examples, grounded phrases, examples with an image
COUNTS = {
    ("ade20k", "ade20k", "training"): (2, 5, 2),
    ("ade20k", "ade20k", "validation"): (1, 2, 1),
    ("coco_stuff", "cocostuff", "train2017"): (2, 5, 2),
    ("coco_stuff_lisa143", "cocostuff", "train2017"): (2, 4, 2),
    ("part_imagenet", "partimagenet", "train"): (2, 4, 2),
    ("paco_lvis", "vlpart/paco", "train"): (2, 5, 2),
    ("pascal_part", "vlpart/pascal_part", "train"): (1, 2, 1),
    ("reason_seg", "reason_seg/ReasonSeg", "train"): (4, 4, 4),
    ("refcoco", "refer_seg/refcoco", "train"): (1, 3, 1),
    ("refcoco", "refer_seg/refcoco", "testA"): (1, 1, 1),
    ("llava", "llava", "llava_v1_5_mix665k"): (3, 0, 2),
    ("coco_folder", "own/masks", "train"): (1, 2, 1),
}


def read(root: Path, reader: str, folder: str, split: str) -> Sequence[Example]:
    return open_dataset(DatasetOptions(reader=reader, root=str(root / folder), split=split))


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Pixels [left, right) x [top, bottom)."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def mask_of(example: Example, phrase: str) -> np.ndarray:
    return example.load_masks()[grounded_phrases(example.conversation).index(phrase)]


def written(example: Example) -> list[str]:
    """The turns, with what is grounded in brackets."""
    return [
        "".join(f"[{part.phrase}]" if isinstance(part, Grounded) else part.text for part in parts)
        for parts in (message.parts for message in example.conversation.messages)
    ]


def test_the_script_writes_what_is_committed(tmp_path: Path) -> None:
    """Pixels and text; how a picture is packed hangs on the library."""
    make(tmp_path)
    for folder, other in ((FIXTURES, tmp_path), (tmp_path, FIXTURES)):
        for path in (path for path in folder.rglob("*") if path.is_file()):
            twin = other / path.relative_to(folder)
            if path.suffix == ".png":
                assert np.array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(twin)))
            elif path.suffix in (".jpg", ".JPEG"):
                assert twin.is_file()
            else:
                assert path.read_bytes() == twin.read_bytes()
    assert sum(path.stat().st_size for path in FIXTURES.rglob("*")) < 200_000


@pytest.mark.parametrize(("source", "counts"), COUNTS.items(), ids=lambda each: str(each))
def test_counts(official: Path, source: tuple[str, str, str], counts: tuple[int, ...]) -> None:
    examples = list(read(official, *source))
    phrases = [grounded_phrases(example.conversation) for example in examples]
    with_image = [example for example in examples if example.load_image is not None]
    assert (len(examples), sum(map(len, phrases)), len(with_image)) == counts
    assert len({example.id for example in examples}) == len(examples)
    for example, named in zip(examples, phrases, strict=True):
        masks = example.load_masks() if example.load_masks else ()
        check_conversation(example.conversation, num_masks=len(masks), where=example.id)
        assert len(named) == len(masks)
        assert all(mask.any() for mask in masks)
        if example.load_image:
            assert example.load_image().size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("source", COUNTS, ids=str)
def test_an_example_is_the_same_in_every_reading(
    official: Path, source: tuple[str, str, str]
) -> None:
    first, second = read(official, *source), read(official, *source)
    assert [each.conversation for each in first] == [each.conversation for each in second]


def test_official_lists() -> None:
    assert [len(class_names(name)) for name in ("ade20k", "coco_stuff", "part_imagenet")] == [
        *(150, 182, 40)
    ]
    assert class_names("ade20k")[149] == "flag"
    assert (len(coco_stuff.ALL171.names), len(coco_stuff.LISA143.names)) == (171, 143)
    assert coco_stuff.ALL171.names[181] == "wood"
    assert coco_stuff.LISA143.names[156] == "sky"


def test_ade20k(official: Path) -> None:
    bedroom, meadow = read(official, "ade20k", "ade20k", "training")
    assert bedroom.id == "ADE_train_00000001/0"
    np.testing.assert_array_equal(mask_of(bedroom, "bed"), rectangle(6, 4, 20, 12))
    np.testing.assert_array_equal(bedroom.load_ignore(), rectangle(0, 0, 2, HEIGHT))
    assert meadow.load_ignore is None
    assert written(meadow) == [
        "Please outline sky, tree and grass in this image.",
        "Highlighted: [sky], [tree] and [grass].",
    ]


def test_coco_stuff(official: Path) -> None:
    street, meadow = read(official, "coco_stuff", "cocostuff", "train2017")
    assert grounded_phrases(street.conversation) == ["person", "sky-other", "wall-brick"]
    np.testing.assert_array_equal(mask_of(street, "person"), rectangle(10, 8, 16, 20))
    np.testing.assert_array_equal(street.load_ignore(), rectangle(0, 20, WIDTH, HEIGHT))
    assert written(meadow) == ["Can you mark dog and grass for me?", "Here: [dog] and [grass]."]


def test_coco_stuff_as_lisa_reads_it(official: Path) -> None:
    """Classes with a hyphen are ignored, but for the sky."""
    street, _ = read(official, "coco_stuff_lisa143", "cocostuff", "train2017")
    assert grounded_phrases(street.conversation) == ["person", "sky"]
    wall = rectangle(0, 6, WIDTH, HEIGHT) & ~rectangle(10, 8, 16, 20)
    np.testing.assert_array_equal(street.load_ignore(), wall)
    sky = rectangle(0, 0, WIDTH, 6)
    np.testing.assert_array_equal(mask_of(street, "sky"), sky)
    assert written(street) == [
        "Can you mark person and sky for me?",
        "My answer is [person] and [sky].",
    ]


def test_part_imagenet(official: Path) -> None:
    dog, car = read(official, "part_imagenet", "partimagenet", "train")
    assert [form.count("quadruped") for form in grounded_phrases(dog.conversation)] == [1, 1]
    head = rectangle(4, 4, 10, 10) & ~rectangle(10, 6, 24, 16)
    np.testing.assert_array_equal(dog.load_masks()[0], head)
    assert dog.load_ignore is None  # the background is known to be none of the parts
    assert written(car) == [
        "Separate the body of the car and the tire of the car from the rest of the picture.",
        "Here: [the body of the car] and [the tire of the car].",
    ]


def test_paco_lvis(official: Path) -> None:
    mugs, can = read(official, "paco_lvis", "vlpart/paco", "train")
    np.testing.assert_array_equal(
        mask_of(mugs, "mug"), rectangle(2, 2, 10, 10) | rectangle(20, 2, 26, 10)
    )
    np.testing.assert_array_equal(
        mugs.load_masks()[1], rectangle(8, 4, 10, 8) | rectangle(24, 4, 26, 8)
    )
    assert written(can) == [
        "Segment trash can, the inner body of the trash can and mouse.",
        "The pixels belong to [trash can], [the inner body of the trash can] and [mouse].",
    ]


def test_both_forms_of_a_part_occur(official: Path) -> None:
    path = official / "vlpart/paco/annotations/paco_lvis_v1_train.json"
    content = json.loads(path.read_text())
    image, handle = content["images"][0], content["annotations"][2]
    content["images"] = [image | {"id": id} for id in range(40)]
    content["annotations"] = [handle | {"id": id, "image_id": id} for id in range(40)]
    path.write_text(json.dumps(content))
    examples = read(official, "paco_lvis", "vlpart/paco", "train")
    phrases = [grounded_phrases(example.conversation)[0] for example in examples]
    assert set(phrases) == {"mug handle", "the handle of the mug"}
    assert 10 <= phrases.count("mug handle") <= 30


def test_pascal_part(official: Path) -> None:
    (dog,) = read(official, "pascal_part", "vlpart/pascal_part", "train")
    legs = rectangle(6, 12, 8, 20) | rectangle(14, 12, 16, 20)
    np.testing.assert_array_equal(dog.load_masks()[1], legs)
    assert dog.image_id.endswith("VOCdevkit/VOC2010/JPEGImages/2008_000002.jpg")
    assert written(dog) == [
        "Give me a mask for dog head and the leg of the dog.",
        "I found [dog head] and [the leg of the dog].",
    ]


def test_reason_seg(official: Path) -> None:
    seat, cup, tea, sign = read(official, "reason_seg", "reason_seg/ReasonSeg", "train")
    hole = rectangle(8, 8, 12, 12)  # the smaller one is drawn over the larger
    np.testing.assert_array_equal(seat.load_masks()[0], rectangle(4, 4, 16, 16) & ~hole)
    np.testing.assert_array_equal(seat.load_ignore(), hole)
    assert grounded_phrases(seat.conversation) == ["the thing to sit on"]
    assert grounded_phrases(sign.conversation) == ["the caf\u00e9's sign"]
    cups = rectangle(2, 2, 10, 10) | rectangle(20, 2, 26, 10)
    np.testing.assert_array_equal(cup.load_masks()[0], cups)
    assert written(sign) == [
        "Which pixels belong to the caf\u00e9's sign?",
        "I marked [the caf\u00e9's sign].",
    ]
    assert written(cup) == [
        "What would one drink from? Answer with a mask. Explain why.",
        "I mean [this part of the image]. The two cups hold tea.",
    ]
    assert written(tea)[1].endswith(" The two cups hold tea.")


def test_an_explanation_is_given_with_the_mask_without_it_or_not_at_all(official: Path) -> None:
    """1 to 4.5 to 4.5, by a hash."""
    path = official / "reason_seg/ReasonSeg/train/200_2.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"text": [f"What is it, {n}?" for n in range(400)]}))
    forms = {"words": 0, "mask": 0, "both": 0}
    for example in read(official, "reason_seg", "reason_seg/ReasonSeg", "train"):
        if example.id.startswith("200_2"):
            explained = "tea" in written(example)[1]
            forms[("both" if explained else "mask") if example.load_masks else "words"] += 1
    assert 20 <= forms["words"] <= 60
    assert min(forms["mask"], forms["both"]) >= 140


def test_llava(official: Path) -> None:
    coco, gqa, words = read(official, "llava", "llava", "llava_v1_5_mix665k")
    assert written(coco) == ["Who?", "Me."]
    assert gqa.image_id.endswith("llava/images/gqa/images/5.jpg")
    assert written(words) == ["What is an <image> tag?", "A part of HTML."]


def test_refcoco(official: Path) -> None:
    (cups,) = read(official, "refcoco", "refer_seg/refcoco", "train")
    np.testing.assert_array_equal(mask_of(cups, "the red cup"), rectangle(2, 3, 16, 9))
    np.testing.assert_array_equal(mask_of(cups, "blue box"), rectangle(20, 10, 25, 15))
    assert written(cups) == [
        "Point out the red cup, cup on the left and blue box, to the pixel.",
        "The mask covers [the red cup], [cup on the left] and [blue box].",
    ]


def test_coco_folder(official: Path) -> None:
    (screw,) = read(official, "coco_folder", "own/masks", "train")
    np.testing.assert_array_equal(mask_of(screw, "screw"), rectangle(0, 0, 4, 4))
    np.testing.assert_array_equal(mask_of(screw, "the rusty nut"), rectangle(10, 10, 12, 12))
    assert written(screw) == [
        "Give me a mask for screw and the rusty nut.",
        "I found [screw] and [the rusty nut].",
    ]


def test_a_label_map_is_decoded_once_for_an_example(official: Path) -> None:
    example = read(official, "ade20k", "ade20k", "training")[0]
    example.load_masks()
    (official / "ade20k/annotations/training/ADE_train_00000001.png").unlink()
    assert example.load_ignore().any()
    assert len(example.load_masks()) == 2


def test_the_labels_of_a_folder_are_read_once(official: Path, caplog) -> None:
    caplog.set_level("INFO")
    folder = official / "ade20k/annotations/training"
    read(official, "ade20k", "ade20k", "training")
    path = folder / "ADE_train_00000002.png"
    kept = path.stat()
    path.write_bytes(b"x" * kept.st_size)  # as long and, it claims, as old as before
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert len(read(official, "ade20k", "ade20k", "training")) == 2
    assert caplog.text.count("reading the labels of 2 pictures") == 1
    os.utime(path)
    with pytest.raises(ValueError, match=r"00000002\.png: unreadable label map"):
        read(official, "ade20k", "ade20k", "training")


def test_a_folder_that_cannot_be_written_is_read_all_the_same(official: Path) -> None:
    folder = official / "ade20k/annotations"
    folder.chmod(0o555)
    assert len(read(official, "ade20k", "ade20k", "training")) == 2
