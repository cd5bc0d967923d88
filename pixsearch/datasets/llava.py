"""LLaVA-Instruct: a JSON list of `{id, image, conversations: [{from: human|gpt, value}]}`.

Layout under `root`: `<split>.json` (the split of `llava_instruct_150k.json` is
`llava_instruct_150k`), and the images in `root/images` or in `root`, at the path that the item
names. Items without an image are kept.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.chat import Conversation, Message, Role, Text
from pixsearch.datasets.example import Example
from pixsearch.datasets.files import image_folder, image_key, load_image, read_json, require
from pixsearch.datasets.grammar import check_conversation
from pixsearch.datasets.lazy import LazyExamples

_IMAGE_PLACEHOLDER = "<image>"
_ROLES = {"human": Role.USER, "gpt": Role.ASSISTANT}


def load(root: Path, split: str) -> LazyExamples:
    """One example per item, in the file's order.

    The official ids are not unique (one per image, several conversations), so an example's id is
    `<place in the file>/<id>`.

    Raises:
        ValueError: the file is missing or no JSON list.
    """
    path = root / f"{split}.json"
    items = read_json(path)
    if not isinstance(items, list):
        raise ValueError(f"{path}: a {type(items).__name__}, not the list of items of LLaVA")
    build = partial(_example, folder=image_folder(root), path=path)
    return LazyExamples(list(enumerate(items)), build)


def _example(record: tuple[int, dict[str, Any]], *, folder: Path, path: Path) -> Example:
    index, item = record
    where = f"{path}: item {index}"
    require(item, "conversations", where=where)
    image = item.get("image")
    conversation = _conversation(item["conversations"], has_image=bool(image), where=where)
    check_conversation(conversation, num_masks=0, where=where)
    id = f"{index}/{item.get('id', '')}"
    if not image:
        return Example(id=id, conversation=conversation)
    return Example(
        id=id,
        conversation=conversation,
        image_id=image_key(folder / image),
        load_image=partial(load_image, folder / image, example=id),
    )


def _conversation(turns: Sequence[dict[str, str]], *, has_image: bool, where: str) -> Conversation:
    """The turns from the first question to the last answer.

    Shared chats (ShareGPT) sometimes open in the midst of an answer or end with a question; LLaVA's
    own training skips the first, and the second teaches nothing.
    """
    messages = [_message(turn, has_image=has_image, where=where) for turn in turns]
    if messages and messages[0].role is Role.ASSISTANT:
        messages = messages[1:]
    if messages and messages[-1].role is Role.USER:
        messages = messages[:-1]
    return Conversation(messages=tuple(messages), has_image=has_image)


def _message(turn: dict[str, str], *, has_image: bool, where: str) -> Message:
    require(turn, "from", "value", where=where)
    if turn["from"] not in _ROLES:
        raise ValueError(f"{where}: a turn is from {turn['from']!r}; only human and gpt are known")
    text = turn["value"]
    role = _ROLES[turn["from"]]
    if has_image and role is Role.USER:
        text = text.replace(_IMAGE_PLACEHOLDER, "")  # the renderer puts the image in its place
    return Message(role=role, parts=(Text(text=text.strip()),))
