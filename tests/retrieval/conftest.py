"""A knowledge base of twelve drawn things, and a tiny random CLIP tower to see them with."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from pixsearch.config import EncoderOptions, RetrievalOptions
from pixsearch.retrieval.build import build_indexes
from pixsearch.retrieval.convert_clip import convert_clip
from pixsearch.retrieval.crops import MEAN_COLOUR

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 170, 40),
    "blue": (30, 60, 220),
    "gold": (235, 200, 20),
}
SHAPES = ("disc", "box", "cross")
NAMES = (
    "Vexlin Orbander Quillory Tamaresk Zophiel Brundage Kestrova Ilmarin Fodderick Wyncote "
    "Jasparex Umbelloq"
)
SIDE = 32


def draw_thing(colour: str, shape: str, background: tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), background)
    draw = ImageDraw.Draw(image)
    fill = COLOURS[colour]
    if shape == "disc":
        draw.ellipse((0, 0, SIDE - 1, SIDE - 1), fill=fill)
    elif shape == "box":
        draw.rectangle((0, 0, SIDE - 1, SIDE - 1), fill=fill)
    else:
        draw.rectangle((11, 0, 20, SIDE - 1), fill=fill)
        draw.rectangle((0, 11, SIDE - 1, 20), fill=fill)
    return image


def things() -> list[tuple[str, str, str]]:
    pairs = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    return [(name, *pair) for name, pair in zip(NAMES.split(), pairs, strict=True)]


def write_corpus(folder: Path, records: list[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "corpus.jsonl").write_text(lines)
    return folder


def write_world(folder: Path) -> Path:
    """Twelve documents with two images each: the thing on the mean colour, and on dark grey."""
    (folder / "images").mkdir(parents=True)
    records = []
    for number, (name, colour, shape) in enumerate(things()):
        images = []
        for variant, background in enumerate((MEAN_COLOUR, (70, 70, 70))):
            images.append(f"images/{number}_{variant}.png")
            draw_thing(colour, shape, background).save(folder / images[-1])
        contents = (
            f"The {name} is a {shape} painted {colour}. It was first made in {1900 + number}."
        )
        records.append({"id": f"e{number}", "title": name, "contents": contents, "images": images})
    return write_corpus(folder, records)


def tiny_clip(**changes: object) -> CLIPVisionModelWithProjection:
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": 8,
        "projection_dim": 24,
    }
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**{**sizes, **changes})).eval()


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    model = tiny_clip()
    convert_clip(model.state_dict(), model.config, folder)
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, clip_folder: Path) -> RetrievalOptions:
    """Options of the drawn world with its text and image indexes built. Do not change its files."""
    root = tmp_path_factory.mktemp("retrieval")
    options = RetrievalOptions(
        knowledge_base=str(write_world(root / "knowledge_base")),
        index=str(root / "index"),
        text_encoder=EncoderOptions(name="hashed_ngrams", dimension=256),
        image_encoder=EncoderOptions(name="open_clip", model=str(clip_folder), dimension=24),
    )
    build_indexes(options, progress=False)
    return options


@pytest.fixture
def own(built: RetrievalOptions, tmp_path: Path) -> RetrievalOptions:
    """The same, in files of the test's own."""
    shutil.copytree(built.knowledge_base, tmp_path / "knowledge_base")
    shutil.copytree(built.index, tmp_path / "index")
    return replace(
        built, knowledge_base=str(tmp_path / "knowledge_base"), index=str(tmp_path / "index")
    )
