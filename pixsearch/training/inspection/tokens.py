"""A rendered conversation as HTML, token by token."""

from collections.abc import Iterator
from itertools import groupby

from transformers import PreTrainedTokenizerFast

from pixsearch.markup import escape, text
from pixsearch.rendering import Rendered, TokenKind
from pixsearch.tokens import TokenIds
from pixsearch.training.samples import COLOURS

SPACE_MARKS = ("▁", "Ġ")  # with which pieces begin that begin with a space
UNDECODABLE = "\ufffd"  # stands for bytes that are no character by themselves

STYLE = """
.tokens { font: 13px/1.9 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
.tokens i, .legend i { font-style: normal; border-radius: 2px; padding: 1px 0;
    box-shadow: inset -1px 0 #fff; color: #7b8494 }
.tokens .y, .legend .y { background: #d3f0dc; color: #1d2430 }
.tokens .u, .legend .u { background: #fbe6c8; color: #1d2430 }
.tokens .e, .legend .e { background: #dce8fb; color: #1d2430 }
.tokens .m, .legend .m { background: #e2e2e2; color: #1d2430 }
.tokens .x, .legend .x { color: #9a1fb8; font-weight: 700 }
.tokens .g { border-bottom: 3px solid }
details { display: inline-block; border: 1px solid #b9cdef; border-radius: 4px; padding: 0 .3rem }
details[open] { display: block } summary { cursor: pointer; background: #dce8fb }
"""
LEGEND = {
    "": "question and template",
    "y": "supervised: a target of the language loss",
    "u": "the assistant's, no target (a forced search)",
    "e": "evidence, no target",
    "m": "image placeholders",
    "x": "special token (its background is as above)",
}


def legend() -> str:
    """What the colours mean."""
    items = "".join(
        f'<i class="{name}"> {escape(meaning)} </i> ' for name, meaning in LEGEND.items()
    )
    return (
        f'<p class="legend">{items}; a grounded phrase is underlined in the colour of its mask</p>'
    )


class TokenView:
    """Shows conversations of one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, ids: TokenIds) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_vocab().values()
        self._special = {*added, *ids.never_in_text, ids.end}

    def show(self, rendered: Rendered) -> str:
        """All tokens; evidence is folded, and a run of placeholders is one piece."""
        phrases = {
            place: number
            for number, (start, end) in enumerate(rendered.spans)
            for place in range(start, end)
        }
        runs = groupby(range(len(rendered)), key=lambda place: rendered.token_kind[place])
        shown = "".join(self._run(rendered, kind, list(run), phrases) for kind, run in runs)
        return f'<div class="tokens">{shown}</div>'

    def _run(
        self, rendered: Rendered, kind: TokenKind, run: list[int], phrases: dict[int, int]
    ) -> str:
        if kind is TokenKind.IMAGE:
            return text(f"[image: {len(run)} tokens]", "m", tag="i")
        tokens = "".join(self._token(rendered, place, phrases.get(place)) for place in run)
        if kind is not TokenKind.EVIDENCE:
            return tokens
        return f"<details><summary>evidence: {len(run)} tokens</summary>{tokens}</details>"

    def _token(self, rendered: Rendered, place: int, phrase: int | None) -> str:
        token = rendered.input_ids[place]
        names = " ".join(_classes(rendered, place, is_special=token in self._special))
        colour = ""
        if phrase is not None:
            names += " g"
            colour = f' style="border-color: rgb{COLOURS[phrase % len(COLOURS)]}"'
        return f'<i class="{names}" title="{token}"{colour}>{escape(self.piece(token))}</i>'

    def piece(self, token: int) -> str:
        """The characters that a token stands for, with its space; else its spelling."""
        raw = str(self._tokenizer.convert_ids_to_tokens(token))
        words = self._tokenizer.decode([token])
        if not words or UNDECODABLE in words:
            return raw
        return f" {words.lstrip()}" if raw.startswith(SPACE_MARKS) else words


def _classes(rendered: Rendered, place: int, *, is_special: bool) -> Iterator[str]:
    kind = rendered.token_kind[place]
    if kind is TokenKind.EVIDENCE:
        yield "e"
    elif kind is TokenKind.GENERATED:
        yield "y" if rendered.supervised[place] else "u"
    if is_special:
        yield "x"
