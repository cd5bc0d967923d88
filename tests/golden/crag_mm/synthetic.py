"""Tiny collections of the form in which CRAG-MM publishes its search indexes, and queries for them.

Imported by record.py, in an environment without this project, and by the tests.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

IMAGES, PAGES = "image_embeddings", "web_search_embeddings"  # names of the collections
NUM_IMAGES, NUM_CHUNKS = 40, 60

BUILDERS = ("Ilmarin & Søn", "[[Tamaresk Works]]", "{{plainlist|\n* Wyncote\n* Brundage\n}}")
TEXT = (
    "bridge tower lamp wheel engine garden museum river castle station market theatre harbour "
    "school temple square palace forest island bakery"
)
WORDS = TEXT.split()


def picture(number: int, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """Rectangles in loud colours; numbers below `NUM_IMAGES` are those of the collection."""
    generator = np.random.RandomState(number)
    width, height = size
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    pixels[:] = generator.randint(0, 256, 3)
    for _ in range(6):
        top, left = generator.randint(0, height), generator.randint(0, width)
        pixels[top : top + height // 3, left : left + width // 3] = generator.randint(0, 256, 3)
    return Image.fromarray(pixels)


def infobox(entity: int, record: int) -> dict[str, Any] | None:
    """What record number `record` says of an entity; the records of one entity differ."""
    if entity == 0:
        return None
    if entity == 1:
        return None if record > 20 else {"note": "overwritten by a later record without infobox"}
    return {
        "name": f"{{{{lang|la|Res {entity}}}}}",
        "built": f"{{{{start date|{1900 + record}}}}}<br />",
        "height": f"{{{{convert|{record + 1}|m|ft}}}}",
        "builder": BUILDERS[entity % len(BUILDERS)],
        "image": "" if entity % 2 else f"Res {entity}.jpg",
        "coordinates": None if entity % 3 else [record, "N"],
    }


def entity_name(entity: int) -> str:
    return f"{WORDS[entity].title()} of Nº {entity}"


def image_metadata(row: int) -> dict[str, str]:
    """One image of the collection, of one thing, or of two; some name it without a list."""
    entities = [row % 17, *([(row * 5 + 3) % 17] if row % 3 == 0 else [])]
    names = [entity_name(entity) for entity in entities]
    boxes = {entity_name(entity): infobox(entity, row) for entity in entities}
    return {
        "image_url": f"https://images.example/{row}.jpg",
        "entities": json.dumps(names[0] if row % 7 == 1 else names),
        "info": json.dumps(boxes),
    }


def chunk(row: int) -> tuple[str, str, dict[str, str]]:
    """One chunk of a web page: its id, the text that was encoded, its metadata."""
    page, number = divmod(row, 3)
    url = f"https://pages.example/{WORDS[page]}"
    if page in (4, 5):  # the package cuts ids at the first "_chunk", so these two pages are one
        url = f"https://pages.example/list_chunk_{page}"
    id = url if page == 6 and number == 0 else f"{url}_chunk_{number}"
    text = f"{WORDS[page]} {WORDS[(page + 7 * number) % 20]} {WORDS[(3 * page + number) % 20]}"
    snippet = "" if page == 7 else f"A {WORDS[page]} &amp; its <b>story</b>, page {page}."
    return (
        id,
        text,
        {
            "page_name": f"The {WORDS[page]} - Example",
            "page_snippet": snippet,
            "page_url": url,
        },
    )


def write_collection(
    folder: Path,
    name: str,
    *,
    ids: Sequence[str],
    vectors: np.ndarray,
    metadatas: Sequence[dict[str, Any]],
    documents: Sequence[str] | None = None,
    space: str = "cosine",
    rows_per_write: int = 10,
) -> None:
    """Write a chroma collection with the published ones' HNSW parameters.

    Its file of vectors is written after every second write, as the published ones' is after every
    thousand rows, so that a tiny collection has one.
    """
    import chromadb

    settings = chromadb.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(path=str(folder), settings=settings)
    hnsw = {"M": 16, "construction_ef": 100, "search_ef": 100}
    hnsw |= {"space": space, "batch_size": rows_per_write, "sync_threshold": 2 * rows_per_write}
    collection = client.create_collection(
        name=name, metadata={f"hnsw:{key}": value for key, value in hnsw.items()}
    )
    for start in range(0, len(ids), rows_per_write):
        rows = slice(start, start + rows_per_write)
        collection.add(
            ids=list(ids[rows]),
            embeddings=vectors[rows].tolist(),
            metadatas=list(metadatas[rows]),
            documents=list(documents[rows]) if documents else None,
        )


def write_image_collection(folder: Path, vectors: np.ndarray) -> None:
    write_collection(
        folder,
        IMAGES,
        ids=[str(row) for row in range(len(vectors))],
        vectors=vectors,
        metadatas=[image_metadata(row) for row in range(len(vectors))],
    )


def write_web_collection(folder: Path, vectors: np.ndarray) -> None:
    ids, texts, metadatas = zip(*(chunk(row) for row in range(len(vectors))), strict=True)
    write_collection(folder, PAGES, ids=ids, vectors=vectors, metadatas=metadatas, documents=texts)


def image_queries() -> list[Image.Image]:
    """A picture of the collection, new ones, wide, high, grey, with transparency, very small."""
    return [
        picture(5),
        picture(100, (64, 48)),
        picture(101, (120, 30)),
        picture(102, (30, 120)),
        picture(103).convert("L"),
        picture(104).convert("RGBA"),
        picture(105, (8, 8)),
    ]


def text_queries() -> list[str]:
    """Short ones, one past 512 tokens, and one that the package takes for an address."""
    return [
        "bridge tower",
        "who built the garden museum near the river?",
        "http status of the harbour",
        "lamp",
        TEXT * 30,
        "Österreich theatre 1900",
    ]
