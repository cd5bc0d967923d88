"""What a plain model is asked: the question, with passages before it if there was a search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pixsearch.chat import Message, Role, Text
from pixsearch.generation.baseline.model import PlainModel
from pixsearch.generation.records import Request
from pixsearch.queries import Passage
from pixsearch.rendering import Rendered, TokenKind

WITH_PASSAGES = "A search found these passages:\n{passages}\n\nUse them if they help.\n{question}"
"""Our wording; the only words of ours that a plain model reads."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainPrompt:
    """One request in the form of transformers' chats.

    Attributes:
        evidence: the passages' words in it, empty if there are none.
    """

    request: Request
    messages: list[dict[str, Any]]
    evidence: str = ""


def make_prompt(
    request: Request, evidence: str, plain: PlainModel, *, instruction: str = ""
) -> PlainPrompt:
    """A request as its chat; the image, if any, stands before the words of the first turn.

    Args:
        evidence: passages, as `cut_passages` gives them.
        instruction: stands behind the question, on a line of its own.
    """
    question = plain.outside(request.question.strip())
    if instruction:
        question = f"{question}\n{plain.outside(instruction)}"
    if evidence:
        question = WITH_PASSAGES.format(passages=evidence, question=question)
    turns = [
        *((message.role, plain.outside(_words(message))) for message in request.history),
        (Role.USER, question),
    ]
    messages = [
        {"role": role.value, "content": [{"type": "text", "text": words}]} for role, words in turns
    ]
    if request.image is not None:
        image = request.image.convert("RGB")
        messages[0]["content"].insert(0, {"type": "image", "image": image})
    return PlainPrompt(request=request, messages=messages, evidence=evidence)


def cut_passages(
    passages: Sequence[Passage], *, max_tokens: int, plain: PlainModel
) -> tuple[str, int]:
    """Passages, one a line, cut by whole ones; the first is cut at the limit rather than dropped.

    Returns:
        The lines, and how many passages they hold.
    """
    lines: list[str] = []
    num_tokens = 0
    for passage in passages:
        text = plain.outside(" ".join(passage.text.split()))
        places = plain.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        num_tokens += len(places.input_ids)
        if num_tokens > max_tokens and lines:
            break
        is_cut = num_tokens > max_tokens
        lines.append(text[: places.offset_mapping[max_tokens - 1][1]] if is_cut else text)
    return "\n".join(lines), len(lines)


def render_prompt(prompt: PlainPrompt, input_ids: Sequence[int], plain: PlainModel) -> Rendered:
    """The prompt's ids with their kinds."""
    rendered = Rendered()
    evidence = _evidence_places(prompt, input_ids, plain)
    for place, token in enumerate(input_ids):
        if token == plain.image_id:
            rendered.extend([token], TokenKind.IMAGE)
        else:
            kind = TokenKind.EVIDENCE if place in evidence else TokenKind.PROMPT
            rendered.extend([token], kind)
    return rendered


def _evidence_places(prompt: PlainPrompt, input_ids: Sequence[int], plain: PlainModel) -> range:
    """Places of the passages' tokens; none where a processor's ids are not those of its text.

    They are counted from the end: placeholders, which a processor multiplies, stand before them.
    """
    text = plain.processor.apply_chat_template(
        prompt.messages, add_generation_prompt=True, tokenize=False
    )
    start = text.rfind(prompt.evidence) if prompt.evidence else -1
    if start < 0:
        return range(0)
    end = start + len(prompt.evidence)
    encoded = plain.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    held = [
        i for i, place in enumerate(encoded.offset_mapping) if place[0] < end and place[1] > start
    ]
    behind = len(encoded.input_ids) - held[0]
    if list(input_ids[-behind:]) != encoded.input_ids[-behind:]:
        return range(0)
    first = len(input_ids) - behind
    return range(first, first + held[-1] - held[0] + 1)


def _words(message: Message) -> str:
    return " ".join(part.text for part in message.parts if isinstance(part, Text))
