"""CRAG-MM, single and multi-turn, from the official parquet files (v0.1.2 or v0.1.1).

Layout under `root`: `<split>.parquet` or the shards `<split>-*.parquet`, in `root` or `root/data`.
Egocentric images are embedded; the others are named by `image_url`: an address, whose download is
expected at `cached_image(root, url)`, or (in the miniature world) a path beside the parquet.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import md5
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pyarrow
import pyarrow.parquet
from datasets import ClassLabel, Features
from PIL import Image

from pixsearch.chat import Conversation, Message, Role, Text
from pixsearch.datasets.example import Example
from pixsearch.datasets.files import decode_image, image_key, load_image
from pixsearch.datasets.lazy import BrokenRecord, LazyExamples

LABELS = ("domain", "query_category", "dynamism", "image_quality")
NO_LABEL = -1  # the id that `datasets` writes where there is no label

MOVED_IMAGES = {
    "0df99a9a-6a5d-4ff4-b8e4-e3ee90209dfe": "https://web.archive.org/web/20250521025904/"
    "https://upload.wikimedia.org/wikipedia/commons/1/13/"
    "BMW_5_SERIES_LWB_SEDAN_(G30)_China_(82).jpg"
}
"""Session -> where the official loader has an image from that is gone from its own address."""

# `image.path` tells whether there is an image without reading its bytes.
_LIGHT_COLUMNS = ["session_id", "image.path", "image_url", "image_quality", "turns", "answers"]


@dataclass(frozen=True, kw_only=True)
class CragMMQuestion:
    """One turn as annotated.

    Labels are names, whose ids differ between the official data sets; None where there is no label.
    """

    interaction_id: str
    question: str
    answer: str
    domain: str | None
    query_category: str | None
    dynamism: str | None
    image_quality: str | None


@dataclass(frozen=True, kw_only=True)
class CragMMTurn(CragMMQuestion):
    """One turn as evaluated.

    Attributes:
        turn_index: place in its session; the turns before it are its history.
        is_egocentric: the image is embedded and has no address (the official rule; there is no such
            column).
        image_id, load_image: as in `Example`; None for a question without an image.
    """

    session_id: str
    turn_index: int
    is_egocentric: bool
    image_id: str | None = None
    load_image: Callable[[], Image.Image] | None = None


def load_turns(root: Path, split: str) -> list[CragMMTurn]:
    """All turns in the files' order; images are decoded when called for.

    Args:
        split: validation or public_test.

    Raises:
        ValueError: no file of this split, no names of the labels, an id that is none of theirs, or
            a turn without its answer.
    """
    return [turn for path in split_files(root, split) for turn in _turns_of_file(path, path.parent)]


def split_files(root: Path, split: str) -> list[Path]:
    """The parquet files of a split in their order.

    Raises:
        ValueError: there are none.
    """
    folder = root / "data" if (root / "data").is_dir() else root
    paths = [*folder.glob(f"{split}.parquet"), *sorted(folder.glob(f"{split}-*.parquet"))]
    if not paths:
        raise ValueError(f"{folder}: no {split}.parquet or {split}-*.parquet; see data/README.md")
    return paths


def load(root: Path, split: str) -> LazyExamples:
    """One example per session: its questions and answers as a conversation.

    Of a session that stands there again the first is taken, the others are broken records.
    """
    sessions: list[list[CragMMTurn] | BrokenRecord] = []
    seen: set[str] = set()
    for turns in _sessions(load_turns(root, split)):
        id = turns[0].session_id
        again = BrokenRecord(
            reason=f"{root}, {split}: session {id!r} occurs twice; fetch the official parquet again"
        )
        sessions.append(again if id in seen else turns)
        seen.add(id)
    return LazyExamples(sessions, _example)


def _sessions(turns: Iterable[CragMMTurn]) -> Iterator[list[CragMMTurn]]:
    session: list[CragMMTurn] = []
    for turn in turns:
        if session and turn.turn_index == 0:
            yield session
            session = []
        session.append(turn)
    if session:
        yield session


def cached_image(folder: Path, url: str) -> Path:
    """Where a download is looked for: `image_cache/<md5 of the url><its suffix>`."""
    suffix = PurePosixPath(urlsplit(url).path).suffix
    digest = md5(url.encode("utf-8"), usedforsecurity=False).hexdigest()
    return folder / "image_cache" / f"{digest}{suffix}"


def _example(turns: list[CragMMTurn]) -> Example:
    first = turns[0]
    messages = [
        Message(role=role, parts=(Text(text=text),))
        for turn in turns
        for role, text in ((Role.USER, turn.question), (Role.ASSISTANT, turn.answer))
    ]
    has_image = first.load_image is not None
    return Example(
        id=first.session_id,
        conversation=Conversation(messages=tuple(messages), has_image=has_image),
        image_id=first.image_id,
        load_image=first.load_image,
    )


def _turns_of_file(path: Path, folder: Path) -> Iterator[CragMMTurn]:
    file = pyarrow.parquet.ParquetFile(path)
    features = Features.from_arrow_schema(file.schema_arrow)
    names = {column: _label_names(features, column, path) for column in LABELS}
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group, columns=_LIGHT_COLUMNS).to_pylist()
        for place, row in enumerate(rows):
            row["image_url"] = MOVED_IMAGES.get(row["session_id"], row["image_url"]) or None
            image_id, open_image = _image_of_row(row, path, group, place, folder)
            for index, question in enumerate(_questions(row, names, path)):
                yield CragMMTurn(
                    **vars(question),
                    session_id=row["session_id"],
                    turn_index=index,
                    is_egocentric=row["image_url"] is None and open_image is not None,
                    image_id=image_id,
                    load_image=open_image,
                )


def _questions(
    row: dict[str, Any], names: dict[str, list[str] | None], path: Path
) -> Iterator[CragMMQuestion]:
    answers = {
        answer["interaction_id"]: answer["ans_full"] for answer in _as_records(row["answers"])
    }
    for turn in _as_records(row["turns"]):
        interaction_id = turn["interaction_id"]
        if interaction_id not in answers:
            raise ValueError(f"{path}: interaction {interaction_id} has no answer")
        turn.setdefault("image_quality", row.get("image_quality"))
        yield CragMMQuestion(
            interaction_id=interaction_id,
            question=turn["query"],
            answer=answers[interaction_id],
            **{
                column: _name(
                    turn[column], names[column], f"{path}: {column} of interaction {interaction_id}"
                )
                for column in LABELS
            },
        )


def _as_records(columns: dict[str, list] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of v0.1.2's dict of columns; v0.1.1's list of dicts as it is."""
    if isinstance(columns, list):
        return columns
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _name(label: int | str | None, names: list[str] | None, where: str) -> str | None:
    """A label's name; None where there is no label.

    Raises:
        ValueError: an id that has no name.
    """
    if not isinstance(label, int) or names is None:
        return label
    if label == NO_LABEL:
        return None
    if not 0 <= label < len(names):
        raise ValueError(
            f"{where} is {label}, of {len(names)} names; fetch the official parquet again"
        )
    return names[label]


def _label_names(features: Features, column: str, path: Path) -> list[str] | None:
    """Names of a label's ids, from the file's own features; None if it stores names, not ids.

    Older versions of `datasets` describe a list by a list, newer ones by an object with `feature`.
    """
    turns = _element(features["turns"])
    feature = _element(turns[column]) if column in turns else features.get(column)
    if isinstance(feature, ClassLabel):
        return feature.names
    if getattr(feature, "dtype", None) == "string":
        return None
    raise ValueError(
        f"{path}: no names for the ids of {column!r}; fetch the official parquet again"
    )


def _element(feature: Any) -> Any:
    return feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)


def _image_of_row(
    row: dict[str, Any], path: Path, group: int, place: int, folder: Path
) -> tuple[str | None, Callable[[], Image.Image] | None]:
    """The row's image id and how to decode it; None and None without an image."""
    session, url = row["session_id"], row["image_url"]
    if row["image"] is not None:
        embedded = partial(_load_embedded, path, group, place, example=session)
        return f"{image_key(path)}#{session}", embedded
    if url is None:
        return None, None
    if urlsplit(url).scheme in ("http", "https"):
        cached = cached_image(folder, url)
        return image_key(cached), partial(_load_download, cached, url=url, example=session)
    return image_key(folder / url), partial(load_image, folder / url, example=session)


def _load_download(path: Path, *, url: str, example: str) -> Image.Image:
    if not path.is_file():
        raise ValueError(f"{path}: missing image of example {example!r}; download {url} to it")
    return load_image(path, example=example)


def _load_embedded(path: Path, group: int, place: int, *, example: str) -> Image.Image:
    encoded = _embedded_images(path, group)[place]["bytes"].as_py()
    if encoded is None:
        raise ValueError(f"{path}: the image of example {example!r} is not embedded")
    return decode_image(encoded, example=example)


@lru_cache(maxsize=1)  # parquet is read by whole groups; sessions are mostly asked for in order
def _embedded_images(path: Path, group: int) -> pyarrow.ChunkedArray:
    file = pyarrow.parquet.ParquetFile(path, memory_map=True)
    return file.read_row_group(group, columns=["image"])["image"]
