"""Data of realistic sizes in the official formats, drawn at random: a writer for each reader."""

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from pixsearch.chat import Conversation, Grounded, Message, Part, Role, Searched, Text
from pixsearch.config import BenchDataOptions, DatasetOptions, QueryType
from pixsearch.datasets.crag_mm import CragMMQuestion
from pixsearch.datasets.crag_mm_writer import CragMMSession, write_crag_mm
from pixsearch.datasets.masks import encode_rle
from pixsearch.datasets.trajectories import StoredTrajectory, to_json, write_trajectories
from pixsearch.queries import Passage
from pixsearch.training.bench.subject import COLOURS, KINDS

CORNERS = 40  # of a polygon, about as many as COCO's have
PASSAGES, PASSAGE_WORDS, ANSWER_WORDS = 3, 100, 60
QUALITY = 90  # of the JPEGs, which gives COCO's size in bytes
WORDS = (*KINDS, *COLOURS, "which", "stands", "beside", "from", "a", "village", "of", "1907", "is")


def write_images(options: BenchDataOptions, folder: Path) -> list[Path]:
    """JPEGs with soft shapes and some noise; flat colour would decode too fast."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(options.seed)
    size = (options.image_width, options.image_height)
    paths = [folder / f"{number:012d}.jpg" for number in range(options.num_images)]
    for path in paths:
        coarse = generator.integers(0, 256, (15, 20, 3), dtype=np.uint8)
        soft = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
        noisy = soft + generator.normal(scale=6.0, size=soft.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=QUALITY)
    return paths


def _coco_folder(options: BenchDataOptions, images: list[Path], root: Path) -> None:
    _link(images, root / "images")
    _coco_json(options, images, root / "train.json", category="{colour} {kind}")


def _pascal_part(options: BenchDataOptions, images: list[Path], root: Path) -> None:
    _link(images, root / "images")
    _coco_json(options, images, root / "train.json", category="{kind}:{colour} part")


def _paco_lvis(options: BenchDataOptions, images: list[Path], root: Path) -> None:
    _link(images, root / "images")
    path = root / "annotations" / "paco_lvis_v1_train.json"
    _coco_json(options, images, path, category="{kind}:{colour} part")


def _ade20k(options: BenchDataOptions, images: list[Path], root: Path) -> None:
    _link(images, root / "images" / "training")
    _label_maps(options, images, root / "annotations" / "training", background=0, first=1)


def _coco_stuff(options: BenchDataOptions, images: list[Path], root: Path) -> None:
    _link(images, root / "images" / "train2017")
    _label_maps(options, images, root / "train2017", background=255, first=0)


def _part_imagenet(options: BenchDataOptions, images: list[Path], root: Path) -> None:
    _link(images, root / "images" / "train", suffix=".JPEG")
    _label_maps(options, images, root / "annotations" / "train", background=40, first=0)


def _reason_seg(options: BenchDataOptions, images: list[Path], root: Path) -> None:
    """One wording for each image, with as many outlines as the other sets have phrases."""
    generator = np.random.default_rng(options.seed)
    _link(images, root / "train")
    for image in images:
        outlines = [polygon(generator, options) for _ in range(options.num_phrases)]
        corners = [np.array(outline).reshape(-1, 2).tolist() for outline in outlines]
        shapes = [{"label": "target", "points": points} for points in corners]
        asked = {"text": [f"{_words(generator, 15)}?"], "is_sentence": True, "shapes": shapes}
        (root / "train" / f"{image.stem}.json").write_text(json.dumps(asked))
    (root / "explanatory").mkdir()
    (root / "explanatory" / "train.json").write_text("[]")


def _refcoco(options: BenchDataOptions, images: list[Path], root: Path) -> None:
    generator = np.random.default_rng(options.seed)
    _link(images, root / "images")
    count = len(images) * options.num_phrases
    annotations = [
        {"id": number, "segmentation": [polygon(generator, options)]} for number in range(count)
    ]
    refs = [
        {
            "ref_id": number,
            "ann_id": number,
            "image_id": number // options.num_phrases,
            "split": "train",
            "sentences": [{"sent": _phrase(number, options)}],
        }
        for number in range(count)
    ]
    described = {"images": _described(images, options), "annotations": annotations}
    (root / "instances.json").write_text(json.dumps(described))
    (root / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))


def _llava(options: BenchDataOptions, images: list[Path], root: Path) -> None:
    """Three turns about each image, as most of LLaVA's conversations have."""
    generator = np.random.default_rng(options.seed)
    _link(images, root / "images")
    items = []
    for number, image in enumerate(images):
        turns = []
        for turn in range(3):
            placeholder = "<image>\n" if turn == 0 else ""
            turns.append({"from": "human", "value": f"{placeholder}{_words(generator, 10)}?"})
            turns.append({"from": "gpt", "value": f"{_words(generator, ANSWER_WORDS)}."})
        items.append({"id": str(number), "image": image.name, "conversations": turns})
    (root / "train.json").write_text(json.dumps(items))


def _trajectories(options: BenchDataOptions, images: list[Path], root: Path) -> None:
    generator = np.random.default_rng(options.seed)
    _link(images, root / "images")
    drawn = (trajectory(image.name, generator, options) for image in images)
    write_trajectories(root / "train.jsonl", drawn)


def _crag_mm(options: BenchDataOptions, images: list[Path], root: Path) -> None:
    generator = np.random.default_rng(options.seed)
    sessions = [
        CragMMSession(
            session_id=image.stem,
            image=image.read_bytes(),
            turns=tuple(_question(f"{image.stem}-{turn}", generator) for turn in range(3)),
        )
        for image in images
    ]
    write_crag_mm(sessions, root / "train.parquet")


Write = Callable[[BenchDataOptions, list[Path], Path], None]


@dataclass(frozen=True, kw_only=True)
class Format:
    """How the files of a reader are drawn.

    Attributes:
        write: is given the images and the root that it fills.
        split: as the data set calls what one trains on.
    """

    write: Write
    split: str = "train"


FORMATS: dict[str, Format] = {
    "ade20k": Format(write=_ade20k, split="training"),
    "coco_folder": Format(write=_coco_folder),
    "coco_stuff": Format(write=_coco_stuff, split="train2017"),
    "coco_stuff_lisa143": Format(write=_coco_stuff, split="train2017"),
    "crag_mm": Format(write=_crag_mm),
    "llava": Format(write=_llava),
    "paco_lvis": Format(write=_paco_lvis),
    "part_imagenet": Format(write=_part_imagenet),
    "pascal_part": Format(write=_pascal_part),
    "reason_seg": Format(write=_reason_seg),
    "refcoco": Format(write=_refcoco),
    "trajectories": Format(write=_trajectories),
}
"""By reader."""


def write_formats(options: BenchDataOptions, folder: Path) -> dict[str, DatasetOptions]:
    """Write the files of each reader that is asked for, all with the same images.

    Raises:
        ValueError: the bench cannot write the files of a reader.
    """
    names = list(FORMATS) if options.readers is None else options.readers
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        raise ValueError(f"readers={unknown}: no data for them; there are: {', '.join(FORMATS)}")
    images = write_images(options, folder / "images")
    sources = {}
    for name in names:
        root = folder / name
        root.mkdir()
        FORMATS[name].write(options, images, root)
        sources[name] = DatasetOptions(reader=name, root=str(root), split=FORMATS[name].split)
    return sources


def trajectory(
    image: str, generator: np.random.Generator, options: BenchDataOptions
) -> StoredTrajectory:
    """A phrase is grounded, its region searched, then a text; three passages come of each."""
    passages = partial(_passages, generator)
    parts: tuple[Part, ...] = (
        Text(text="You mean"),
        Grounded(phrase=_phrase(int(generator.integers(1000)), options)),
        Searched(type=QueryType.region, passages=passages()),
        Searched(type=QueryType.text, text=_words(generator, 8), passages=passages()),
        Text(text=f"{_words(generator, 20)}."),
    )
    question = Message(role=Role.USER, parts=(Text(text=f"{_words(generator, 12)}?"),))
    return StoredTrajectory(
        id=Path(image).stem,
        image=image,
        conversation=Conversation(
            messages=(question, Message(role=Role.ASSISTANT, parts=parts)), has_image=True
        ),
        masks=(encode_rle(_filled(polygon(generator, options), options)),),
    )


def polygon(generator: np.random.Generator, options: BenchDataOptions) -> list[float]:
    """A rounded, uneven outline, `[x, y, x, y, …]`."""
    centre = generator.uniform(0.25, 0.75, 2) * (options.image_width, options.image_height)
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    mean = options.image_height * generator.uniform(0.05, 0.2)
    radii = mean * generator.uniform(0.8, 1.2, CORNERS)
    points = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return points.round(1).ravel().tolist()


def _link(images: list[Path], folder: Path, *, suffix: str = ".jpg") -> None:
    folder.mkdir(parents=True)
    for image in images:
        (folder / image.with_suffix(suffix).name).symlink_to(image.absolute())


def _coco_json(options: BenchDataOptions, images: list[Path], path: Path, *, category: str) -> None:
    """As many outlines in each image as there are phrases, each of another category."""
    generator = np.random.default_rng(options.seed)
    names = [
        category.format(kind=kind, colour=COLOURS[place % len(COLOURS)])
        for place, kind in enumerate(KINDS)
    ]
    annotations = [
        {
            "id": number,
            "image_id": number // options.num_phrases,
            "category_id": number % options.num_phrases % len(names),
            "segmentation": [polygon(generator, options)],
        }
        for number in range(len(images) * options.num_phrases)
    ]
    described = {
        "images": _described(images, options),
        "categories": [{"id": id, "name": name} for id, name in enumerate(names)],
        "annotations": annotations,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(described))


def _label_maps(
    options: BenchDataOptions, images: list[Path], folder: Path, *, background: int, first: int
) -> None:
    """As many classes in each image as there are phrases, later ones over earlier ones."""
    generator = np.random.default_rng(options.seed)
    folder.mkdir(parents=True)
    for image in images:
        labels = Image.new("L", (options.image_width, options.image_height), background)
        for place in range(options.num_phrases):
            ImageDraw.Draw(labels).polygon(polygon(generator, options), fill=first + place)
        labels.save(folder / f"{image.stem}.png")


def _filled(outline: list[float], options: BenchDataOptions) -> Bool[np.ndarray, "height width"]:
    mask = Image.new("1", (options.image_width, options.image_height))
    ImageDraw.Draw(mask).polygon(outline, fill=1)
    return np.array(mask)


def _described(images: list[Path], options: BenchDataOptions) -> list[dict[str, Any]]:
    size = {"height": options.image_height, "width": options.image_width}
    return [{"id": number, "file_name": path.name} | size for number, path in enumerate(images)]


def _phrase(number: int, options: BenchDataOptions) -> str:
    """Different from those of the same image."""
    place = number % options.num_phrases
    return f"the {COLOURS[number % len(COLOURS)]} {KINDS[place % len(KINDS)]} at place {place}"


def _question(id: str, generator: np.random.Generator) -> CragMMQuestion:
    return CragMMQuestion(
        interaction_id=id,
        question=f"{_words(generator, 10)}?",
        answer=f"{_words(generator, 25)}.",
        domain="shopping",
        query_category="multi-hop",
        dynamism="static",
        image_quality="normal",
    )


def _passages(generator: np.random.Generator) -> tuple[Passage, ...]:
    return tuple(
        Passage(id=f"p{number}", title=KINDS[number], text=_words(generator, PASSAGE_WORDS))
        for number in range(PASSAGES)
    )


def _words(generator: np.random.Generator, count: int) -> str:
    return " ".join(generator.choice(WORDS, size=count).tolist())


def write_long_file(options: BenchDataOptions, path: Path) -> None:
    """A trajectory file of `options.num_lines` lines: a hundred answers, ids of their own.

    Two lines about an image each, of which there are only the names.
    """
    generator = np.random.default_rng(options.seed)
    drawn = [to_json(trajectory("a.jpg", generator, options)) for _ in range(100)]
    before = '{"id": "", "image": ""'
    empty = {"id": "", "image": ""}
    ends = [json.dumps(one | empty).removeprefix(before).encode() for one in drawn]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for number in range(options.num_lines):
            image = b"train2017/%012d.jpg" % (number // 2)
            file.write(b'{"id": "%d", "image": "%b"%b\n' % (number, image, ends[number % 100]))
