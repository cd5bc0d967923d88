"""Writes files in the official layout of Wiki6M."""

import gzip
import json
from pathlib import Path


def article(number: int, *, url: str | None = None, **changes: object) -> dict:
    """A line of Wiki6M_ver_1_0.jsonl."""
    sentences = " ".join(f"Sentence {each} of article {number} is short." for each in range(12))
    return {
        "wikidata_id": f"Q{number}",
        "wikipedia_title": f"Article {number}",
        "wikipedia_summary": f"Sentence 0 of article {number} is short.",
        "wikipedia_content": sentences,
        "wikipedia_image_url": url,
    } | changes


def write_wiki6m(path: Path, records: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path
