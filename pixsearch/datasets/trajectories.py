"""Trajectories: answers with their searches and evidence, one JSON object per line.

    {"id": …, "image": relative path or null,
     "messages": [{"role": "user", "parts": [{"text": …}]},
                  {"role": "assistant", "parts": [{"text": …} | {"grounded": phrase} | {"search":
                     {"type": "region" | "image" | "text", "text": … or null, "supervised": true,
                      "passages": [{"id": …, "title": …, "text": …}]}}]}],
     "masks": [RLE of COCO, one per grounded phrase, in their order]}

A message may say `"supervised": false`: an earlier answer that is context and no target.

Layout under `root`: `<split>.jsonl`, and the images in `root/images` or relative to `root`.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.chat import Conversation, Grounded, Message, Part, Role, Searched, Text
from pixsearch.config import QueryType
from pixsearch.datasets.example import Example
from pixsearch.datasets.files import JsonLines, image_folder, image_key, load_image, require
from pixsearch.datasets.grammar import check_conversation
from pixsearch.datasets.lazy import BrokenRecord, LazyExamples
from pixsearch.datasets.masks import Rle, decode_masks
from pixsearch.datasets.trajectory_index import TrajectoryIndex, open_index
from pixsearch.queries import Passage


@dataclass(frozen=True, kw_only=True)
class StoredTrajectory:
    """One line of a trajectory file.

    Attributes:
        image: path relative to the image folder; None without an image.
        masks: one RLE per grounded phrase, in their order (`pixsearch.datasets.masks.encode_rle`).
    """

    id: str
    conversation: Conversation
    image: str | None = None
    masks: tuple[Rle, ...] = ()


def load(root: Path, split: str) -> LazyExamples:
    """One example per line, parsed and checked when asked for; of a repeated id the first.

    Raises:
        ValueError: the file is missing. When an example is asked for: the line is no JSON, lacks a
            field or breaks the grammar; names file and line.
    """
    lines = JsonLines(root / f"{split}.jsonl")
    build = partial(_example, lines=lines, folder=image_folder(root))
    index = open_index(lines)
    return LazyExamples(
        range(len(lines)),
        build,
        broken={row: BrokenRecord(reason=reason) for row, reason in _reasons(index, lines)},
        images=index.image_index(image_folder(root)),
    )


def _reasons(index: TrajectoryIndex, lines: JsonLines) -> Iterator[tuple[int, str]]:
    """Rows of which no example can be made, and why."""
    for row, first in index.first_of_repeated().items():
        again = f"has the id of {lines.where(first)} again"
        yield row, f"{lines.where(row)}: {again}; take one out"
    for row in index.broken.tolist():
        try:
            lines[row]
        except ValueError as error:
            yield row, str(error)


def write_trajectories(path: Path, trajectories: Iterable[StoredTrajectory]) -> int:
    """Write a file that `load` reads; it appears under its name when it is whole.

    Returns:
        The number of lines.

    Raises:
        ValueError: a trajectory breaks the grammar; names its id.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    count = 0
    with unfinished.open("w", encoding="utf-8") as file:
        for trajectory in trajectories:
            _check(trajectory, where=f"trajectory {trajectory.id!r}")
            file.write(json.dumps(to_json(trajectory), ensure_ascii=False) + "\n")
            count += 1
    os.replace(unfinished, path)
    return count


def to_json(trajectory: StoredTrajectory) -> dict[str, Any]:
    """The JSON object of a trajectory."""
    return {
        "id": trajectory.id,
        "image": trajectory.image,
        "messages": [_message_to_json(each) for each in trajectory.conversation.messages],
        "masks": list(trajectory.masks),
    }


def from_json(record: dict[str, Any], *, where: str) -> StoredTrajectory:
    """The trajectory of a JSON object.

    Raises:
        ValueError: a field is missing or unknown, or the grammar is broken; begins with `where`.
    """
    require(record, "id", "image", "messages", "masks", where=where)
    _check_lists(record, "messages", "masks", where=where)
    messages = tuple(_message_from_json(message, where) for message in record["messages"])
    image = record["image"]
    if image is not None and not isinstance(image, str):
        raise ValueError(f"{where}: its image is {image!r}, neither a path nor null; mend it there")
    trajectory = StoredTrajectory(
        id=record["id"],
        conversation=Conversation(messages=messages, has_image=image is not None),
        image=image,
        masks=tuple(record["masks"]),
    )
    _check(trajectory, where=where)
    return trajectory


def _example(index: int, *, lines: JsonLines, folder: Path) -> Example:
    trajectory = from_json(lines[index], where=lines.where(index))
    id = trajectory.id
    if trajectory.image is None:
        return Example(id=id, conversation=trajectory.conversation)
    path = folder / trajectory.image
    load_masks, size = None, None
    if trajectory.masks:
        size = height, width = tuple(trajectory.masks[0]["size"])
        groups = [(mask,) for mask in trajectory.masks]
        load_masks = partial(decode_masks, groups, height=height, width=width, example=id)
    return Example(
        id=id,
        conversation=trajectory.conversation,
        image_id=image_key(path),
        load_image=partial(load_image, path, example=id, size=size),
        load_masks=load_masks,
    )


def _check(trajectory: StoredTrajectory, *, where: str) -> None:
    for mask in trajectory.masks:
        require(mask, "size", "counts", where=f"{where}: a mask")
        match mask["size"]:
            case [int(), int()]:
                continue
        raise ValueError(f"{where}: a mask's size is {mask['size']!r}, not [height, width]")
    check_conversation(trajectory.conversation, num_masks=len(trajectory.masks), where=where)


def _check_lists(record: dict[str, Any], *fields: str, where: str) -> None:
    for field in fields:
        if not isinstance(record[field], list):
            kind = type(record[field]).__name__
            raise ValueError(f"{where}: its {field} are a {kind}, not a list; mend it there")


def _message_to_json(message: Message) -> dict[str, Any]:
    """An answer that is no target says so; the others say nothing."""
    parts = [_part_to_json(part) for part in message.parts]
    mark = {} if message.supervised else {"supervised": False}
    return {"role": str(message.role), "parts": parts, **mark}


def _part_to_json(part: Part) -> dict[str, Any]:
    match part:
        case Text(text=text):
            return {"text": text}
        case Grounded(phrase=phrase):
            return {"grounded": phrase}
        case Searched():
            return {"search": _search_to_json(part)}


def _search_to_json(search: Searched) -> dict[str, Any]:
    passages = [
        {"id": passage.id, "title": passage.title, "text": passage.text}
        for passage in search.passages
    ]
    return {
        "type": str(search.type),
        "text": search.text,
        "supervised": search.supervised,
        "passages": passages,
    }


def _message_from_json(message: Any, where: str) -> Message:
    require(message, "role", "parts", where=f"{where}: a message")
    _check_lists(message, "parts", where=f"{where}: a message")
    if message["role"] not in list(Role):
        raise ValueError(f"{where}: role {message['role']!r}; there are: {', '.join(Role)}")
    parts = tuple(_part_from_json(part, where) for part in message["parts"])
    is_target = message.get("supervised", True)
    return Message(role=Role(message["role"]), parts=parts, supervised=is_target)


def _part_from_json(part: Any, where: str) -> Part:
    match part:
        case {"text": str(text), **rest} if not rest:
            return Text(text=text)
        case {"grounded": str(phrase), **rest} if not rest:
            return Grounded(phrase=phrase)
        case {"search": dict(search), **rest} if not rest:
            return _search_from_json(search, f"{where}: a search")
    shown = ", ".join(part) if isinstance(part, dict) else repr(part)
    raise ValueError(f"{where}: a part is one of text, grounded and search, not {shown}")


def _search_from_json(search: dict[str, Any], where: str) -> Searched:
    require(search, "type", "passages", where=where)
    _check_lists(search, "passages", where=where)
    if search["type"] not in list(QueryType):
        raise ValueError(f"{where} of type {search['type']!r}; there are: {', '.join(QueryType)}")
    for passage in search["passages"]:
        require(passage, "id", "title", "text", where=f"{where}: a passage")
    return Searched(
        type=QueryType(search["type"]),
        text=search.get("text"),
        passages=tuple(
            Passage(id=passage["id"], title=passage["title"], text=passage["text"])
            for passage in search["passages"]
        ),
        supervised=search.get("supervised", True),
    )
