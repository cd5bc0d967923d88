"""The special tokens of PixSearch. No other module spells them.

The grammar that they build (design, "The trajectory grammar"):

    answer   := (text | grounded | search)* end
    grounded := phrase "<seg>"
    search   := "<search>" payload "</search>" "<information>" evidence "</information>"
    payload  := "<region>" | "<whole>" | free text
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

SEARCH = "<search>"  # the model opens a search
SEARCH_END = "</search>"  # and closes it; the engine then asks the searcher
REGION = "<region>"  # payload: the mask of the last grounded phrase
WHOLE = "<whole>"  # payload: the whole image (the paper prints <image>, a placeholder in LLaVA)
INFORMATION = "<information>"  # opens the evidence; written by the engine alone
INFORMATION_END = "</information>"  # closes the evidence; written by the engine alone
SEG = "<seg>"  # the phrase before it is grounded; its state prompts the mask decoder

SPECIAL_TOKENS = (SEARCH, SEARCH_END, REGION, WHOLE, INFORMATION, INFORMATION_END, SEG)


@dataclass(frozen=True, kw_only=True)
class TokenIds:
    """Ids of the special tokens in one tokenizer, with those of its own that the grammar needs."""

    search: int
    search_end: int
    region: int
    whole: int
    information: int
    information_end: int
    seg: int
    end: int  # end of an answer (the tokenizer's eos)
    pad: int
    image: int  # the backbone's placeholder, one per patch
    begin: int | None = None  # what the tokenizer puts before a text, if it does (LLaMA's <s>)

    @property
    def own(self) -> tuple[int, ...]:
        """Ids of the special tokens, rising."""
        return tuple(
            sorted(
                (
                    self.search,
                    self.search_end,
                    self.region,
                    self.whole,
                    self.information,
                    self.information_end,
                    self.seg,
                )
            )
        )

    @property
    def never_in_text(self) -> tuple[int, ...]:
        """Ids that neither free text nor a text query may hold."""
        begin = () if self.begin is None else (self.begin,)
        return (*begin, *self.own, self.pad, self.image)


def add_special_tokens(
    tokenizer: PreTrainedTokenizerFast, mapping: Mapping[str, str] | None = None
) -> int:
    """Add the special tokens in their fixed order; return how many rows the vocabulary grew by.

    Args:
        mapping: special token -> a token of the vocabulary that already means what it does
            (`<seg>` -> LISA's `[SEG]`); it is not added.

    Raises:
        ValueError: the vocabulary already holds one of them: two meanings would share an id; or
            `mapping` names what is none of ours, or not in the vocabulary.
    """
    mapping = mapping or {}
    vocabulary = tokenizer.get_vocab()
    for ours, theirs in mapping.items():
        if ours not in SPECIAL_TOKENS or theirs not in vocabulary:
            raise ValueError(
                f"model.token_mapping has {ours}: {theirs}; give one of "
                f"{', '.join(SPECIAL_TOKENS)} and a token of the backbone's vocabulary"
            )
    if len(set(mapping.values())) < len(mapping):
        raise ValueError(f"model.token_mapping={dict(mapping)}: two tokens of ours would be one")
    added = [token for token in SPECIAL_TOKENS if token not in mapping]
    taken = [token for token in added if token in vocabulary]
    if taken:
        raise ValueError(
            f"the tokenizer already holds {', '.join(taken)}: choose a backbone without them, or, "
            f"if they mean the same, set model.token_mapping={{{taken[0]}: {taken[0]}}}"
        )
    return tokenizer.add_tokens(added, special_tokens=True)


def find_token_ids(
    tokenizer: PreTrainedTokenizerFast,
    *,
    image_token_id: int,
    mapping: Mapping[str, str] | None = None,
) -> TokenIds:
    """Look the ids up in a tokenizer to which `add_special_tokens` was applied.

    Raises:
        ValueError: a special token, the end token or the padding token is missing, or is an
            ordinary piece of the vocabulary, which text from outside could yield.
    """
    vocabulary = tokenizer.get_vocab()
    spellings = [(mapping or {}).get(token, token) for token in SPECIAL_TOKENS]
    missing = [token for token in spellings if token not in vocabulary]
    if missing:
        raise ValueError(
            f"the tokenizer lacks {', '.join(missing)}: was it saved by PixSearch.save_pretrained?"
        )
    if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
        raise ValueError("the tokenizer needs an eos and a pad token; one of them is not set")
    names = ("search", "search_end", "region", "whole", "information", "information_end", "seg")
    found = {name: vocabulary[token] for name, token in zip(names, spellings, strict=True)}
    ids = TokenIds(
        **found,
        end=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        image=image_token_id,
        begin=_begin(tokenizer),
    )
    _check_added(ids, tokenizer)
    return ids


def _check_added(ids: TokenIds, tokenizer: PreTrainedTokenizerFast) -> None:
    """See that the tokens are added ones, which `PlainTextEncoder` keeps out of any text."""
    added = set(tokenizer.get_added_vocab().values())
    pieces = [token for token in (*ids.never_in_text, ids.end) if token not in added]
    if pieces:
        names = ", ".join(map(repr, tokenizer.convert_ids_to_tokens(pieces)))
        raise ValueError(
            f"{names}: an ordinary piece of the vocabulary, which any question may hold; "
            "only added tokens may mean something: mend model.token_mapping, or the tokenizer"
        )


def _begin(tokenizer: PreTrainedTokenizerFast) -> int | None:
    """The token with which the tokenizer itself begins every text; None if there is none."""
    first = tokenizer("a").input_ids[0]
    return first if first == tokenizer.bos_token_id else None


class Behind(StrEnum):
    """What stands before a text: tokenizers put a space before a text, or do not, by that."""

    nothing = "nothing"
    token = "token"  # an added token
    text = "text"


class PlainTextEncoder:
    """Encodes text from outside (questions, passages) so that it cannot yield any added token.

    It is a copy of the tokenizer's backend from which all added tokens are taken out, so that
    "</information>" in a passage becomes ordinary pieces. Works for special tokens and for added
    tokens that are not marked special (LLaVA's "<image>").

    Some tokenizers put a space before a text: at the beginning of a sequence (LLaMA's), or behind
    every added token too (LLaMA's `legacy` ones). This does as the tokenizer does there. Behind
    other text none is put, or a sequence that is tokenised in pieces would have too many.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        description = json.loads(tokenizer.backend_tokenizer.to_str())
        self._forbidden = frozenset(token["id"] for token in description["added_tokens"])
        description["added_tokens"] = []
        description["post_processor"] = None
        self._spacing = Tokenizer.from_str(json.dumps(description))
        _take_out_spacing(description)
        self._bare = Tokenizer.from_str(json.dumps(description))
        spaced, bare = self._ids("a", self._spacing), self._ids("a", self._bare)
        self._doubles = self._ids(" a", self._spacing) != spaced
        behind_token = tokenizer.encode(f"{tokenizer.eos_token}a", add_special_tokens=False)
        self._spaces = {
            Behind.nothing: spaced != bare,
            Behind.token: spaced != bare and behind_token[-len(spaced) :] == spaced,
            Behind.text: False,
        }

    def encode(self, text: str, behind: Behind = Behind.token) -> list[int]:
        """Token ids of `text`, without begin or end tokens, never an added token.

        Where the tokenizer puts a space, a text that begins with one does not get a second.
        """
        return [token for token, _, _ in self.encode_with_places(text, behind)]

    def encode_with_places(
        self, text: str, behind: Behind = Behind.token
    ) -> list[tuple[int, int, int]]:
        """The same, with the place in `text` of the characters that each token stands for."""
        if not self._spaces[behind]:
            return self._encode(text, self._bare)
        shorter = text.removeprefix(" ") if self._doubles else text
        cut = len(text) - len(shorter)
        found = self._encode(shorter, self._spacing)
        return [(token, start + cut, end + cut) for token, start, end in found]

    def _ids(self, text: str, backend: Tokenizer) -> list[int]:
        return [token for token, _, _ in self._encode(text, backend)]

    def _encode(self, text: str, backend: Tokenizer) -> list[tuple[int, int, int]]:
        encoded = backend.encode(text, add_special_tokens=False)
        return [
            (token, *place)
            for token, place in zip(encoded.ids, encoded.offsets, strict=True)
            if token not in self._forbidden
        ]


def _take_out_spacing(description: dict[str, Any]) -> None:
    """Change a tokenizer's description, in place, so that it puts no space before a text."""
    normalizer, splitter = description["normalizer"], description["pre_tokenizer"]
    for part in _parts_of(splitter, "pretokenizers"):
        if part["type"] == "Metaspace":
            part["prepend_scheme"] = "never"
        elif part["type"] == "ByteLevel":
            part["add_prefix_space"] = False
    kept = [part for part in _parts_of(normalizer, "normalizers") if part["type"] != "Prepend"]
    description["normalizer"] = {"type": "Sequence", "normalizers": kept} if kept else None


def _parts_of(component: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    if component is None:
        return []
    return component[key] if component["type"] == "Sequence" else [component]
