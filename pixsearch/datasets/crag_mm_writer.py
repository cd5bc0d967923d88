"""Writes parquet files in the official columns of CRAG-MM v0.1.2, for worlds of one's own."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from datasets import ClassLabel, Features, List, Value
from datasets import Image as ImageFeature

from pixsearch.datasets.crag_mm import LABELS, CragMMQuestion

# The names and their order in the multi-turn set. Readers decode ids through the file's features.
LABEL_NAMES = {
    "domain": (
        "animal",
        "other",
        "shopping",
        "book",
        "general object recognition",
        "local",
        "vehicle",
        "plants and gardening",
        "style and fashion",
        "food",
        "text understanding",
        "sports and games",
        "math and science",
    ),
    "query_category": (
        "reasoning",
        "simple-knowledge",
        "comparison",
        "simple-recognition",
        "multi-hop",
        "aggregation",
    ),
    "dynamism": ("fast-changing", "static", "slow-changing", "real-time"),
    "image_quality": ("rotated", "truncated", "occluded", "low light", "blurred", "normal"),
}

_ROWS_PER_GROUP = 100  # as `datasets` writes files with images


@dataclass(frozen=True, kw_only=True)
class CragMMSession:
    """One row: an image and what is asked about it.

    Attributes:
        image: the encoded file (PNG or JPEG) of an egocentric image.
        image_url: address of any other image, or its path relative to the parquet's folder.
    """

    session_id: str
    turns: tuple[CragMMQuestion, ...]
    image: bytes | None = None
    image_url: str | None = None


def official_features() -> Features:
    """The columns of v0.1.2."""
    labels = {column: List(ClassLabel(names=list(LABEL_NAMES[column]))) for column in LABELS}
    return Features(
        {
            "session_id": Value("string"),
            "image": ImageFeature(),
            "image_url": Value("string"),
            "turns": {
                "interaction_id": List(Value("string")),
                "domain": labels["domain"],
                "query_category": labels["query_category"],
                "dynamism": labels["dynamism"],
                "query": List(Value("string")),
                "image_quality": labels["image_quality"],
            },
            "answers": {
                "interaction_id": List(Value("string")),
                "ans_full": List(Value("string")),
            },
        }
    )


def write_crag_mm(rows: Iterable[CragMMSession], path: Path) -> int:
    """Write a parquet file that `crag_mm.load_turns` and Hugging Face's `datasets` read.

    Returns:
        The number of rows.

    Raises:
        ValueError: a label that CRAG-MM does not have.
    """
    features = official_features()
    encoded = [_row(session, features) for session in rows]
    table = pyarrow.Table.from_pylist(encoded, schema=features.arrow_schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    pyarrow.parquet.write_table(table, unfinished, row_group_size=_ROWS_PER_GROUP)
    os.replace(unfinished, path)
    return len(encoded)


def _row(session: CragMMSession, features: Features) -> dict[str, Any]:
    ids = [turn.interaction_id for turn in session.turns]
    labels = {
        column: [
            _label_id(getattr(turn, column), column, session.session_id, features)
            for turn in session.turns
        ]
        for column in LABELS
    }
    image = None if session.image is None else {"bytes": session.image, "path": None}
    return {
        "session_id": session.session_id,
        "image": image,
        "image_url": session.image_url,
        "turns": {
            "interaction_id": ids,
            "query": [turn.question for turn in session.turns],
            **labels,
        },
        "answers": {
            "interaction_id": ids,
            "ans_full": [turn.answer for turn in session.turns],
        },
    }


def _label_id(name: str | None, column: str, session_id: str, features: Features) -> int | None:
    if name is None:
        return None
    names = features["turns"][column].feature.names
    if name not in names:
        raise ValueError(
            f"session {session_id}: {column} {name!r} is none of CRAG-MM's: {', '.join(names)}"
        )
    return names.index(name)
