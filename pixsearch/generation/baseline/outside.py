"""Text from outside in a template that is tokenised as a whole."""

import re
from collections.abc import Iterable

from transformers import PreTrainedTokenizerFast


class OutsideText:
    """Breaks what would be read as an added token (`</s>`, `<|im_end|>`, `<image>`) in a text.

    PixSearch gives questions and passages to a tokenizer without added tokens. A plain model's
    processor tokenises its template and what was put into it together; so here a space goes behind
    the first character of each such spelling, which is then pieces of words: `< image>`. A token of
    one character becomes a space. Added tokens of white space alone are left: they are no control.

    Args:
        more: spellings that the processor itself replaces.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, more: Iterable[str] = ()) -> None:
        added = {token: id for token, id in tokenizer.get_added_vocab().items() if _has_ink(token)}
        spellings = sorted({*added, *filter(_has_ink, more)}, key=len, reverse=True)
        self._tokenizer = tokenizer
        # the unknown token also stands for words that nobody has spelled like it
        self._ids = frozenset(added.values()) - {tokenizer.unk_token_id}
        self._spelled = re.compile("|".join(map(re.escape, spellings)) or r"(?!)")

    def __call__(self, text: str) -> str:
        """The text with all that looks like an added token broken."""
        while places := self._places(text):
            for start, end in reversed(places):
                kept = text[start] if end - start > 1 else ""
                text = f"{text[:start]}{kept} {text[start + 1 :]}"
        return text

    def _places(self, text: str) -> list[tuple[int, int]]:
        """Where added tokens stand: as spelled, else as the tokenizer finds them.

        Its normaliser may make one of other characters (a full-width `<`).
        """
        if spelled := [match.span() for match in self._spelled.finditer(text)]:
            return spelled
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        found = {
            (end - len(text[start:end].lstrip()), end)
            for token, (start, end) in zip(encoded.input_ids, encoded.offset_mapping, strict=True)
            if token in self._ids and text[start:end].strip()
        }
        return sorted(found)


def _has_ink(token: str) -> bool:
    return bool(token.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").strip())
