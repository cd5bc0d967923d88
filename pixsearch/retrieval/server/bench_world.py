"""Documents, images and questions made up for `scripts/bench_server.py`."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from pixsearch.config import BenchServerOptions, EncoderOptions, RetrievalOptions
from pixsearch.queries import Query
from pixsearch.retrieval.build import build_indexes
from pixsearch.retrieval.convert_clip import convert_clip

NUM_WORDS = 3000  # of the language in which the documents are written
WORDS_OF_A_DOCUMENT = 60
WORDS_OF_A_QUESTION = 8
DOCUMENTS_WITH_IMAGE = 10  # one in so many
SIDE = 64  # pixels of an image
DIMENSION = 32


def make_world(folder: Path, options: BenchServerOptions) -> RetrievalOptions:
    """Write the documents and build their indexes, with an image tower of random weights."""
    generator = np.random.default_rng(options.seed)
    world = folder / "knowledge_base"
    (world / "images").mkdir(parents=True)
    lines = [_document(world, number, generator) for number in range(options.num_documents)]
    (world / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _write_tower(folder / "tower", options.seed)
    retrieval = RetrievalOptions(
        knowledge_base=str(world),
        index=str(folder / "index"),
        text_encoder=EncoderOptions(name="hashed_ngrams", dimension=256),
        image_encoder=EncoderOptions(
            name="open_clip", model=str(folder / "tower"), dimension=DIMENSION
        ),
    )
    build_indexes(retrieval, progress=False)
    return retrieval


def make_questions(options: BenchServerOptions) -> list[Query]:
    """Two texts, an image and a region in turn."""
    generator = np.random.default_rng(options.seed + 1)
    return [_question(number % 4, generator) for number in range(options.num_questions)]


def _question(kind: int, generator: np.random.Generator) -> Query:
    if kind < 2:
        return Query.of_text(_words(WORDS_OF_A_QUESTION, generator))
    image = _noise(generator)
    if kind == 2:
        return Query.of_image(image)
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    left, top = generator.integers(0, SIDE // 2, 2)
    mask[top : top + SIDE // 2, left : left + SIDE // 2] = True
    return Query.of_region(image, mask)


def _document(world: Path, number: int, generator: np.random.Generator) -> dict[str, object]:
    images = []
    if number % DOCUMENTS_WITH_IMAGE == 0:
        images.append(f"images/{number}.png")
        _noise(generator).save(world / images[0])
    title, contents = f"Title {number}", _words(WORDS_OF_A_DOCUMENT, generator)
    return {"id": f"d{number}", "title": title, "contents": contents, "images": images}


def _words(count: int, generator: np.random.Generator) -> str:
    return " ".join(map(_spelled, generator.integers(0, NUM_WORDS, count).tolist()))


def _spelled(number: int) -> str:
    """A word of its own for each number.

    >>> _spelled(0), _spelled(2999)
    ('baba', 'mako')
    """
    return "".join(_syllables(number))


def _syllables(number: int) -> Iterator[str]:
    consonants, vowels = "bcdfghjklmnpz", "aeiou"
    for _ in range(2):
        number, syllable = divmod(number, len(consonants) * len(vowels))
        yield consonants[syllable % len(consonants)] + vowels[syllable // len(consonants)]


def _noise(generator: np.random.Generator) -> Image.Image:
    """Coarse noise, so that images differ in what a tower sees of them."""
    coarse = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def _write_tower(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=16,
        projection_dim=DIMENSION,
    )
    model = CLIPVisionModelWithProjection(config)
    convert_clip(model.state_dict(), config, folder)
