"""The special tokens of PixSearch. No other module spells them.

The grammar that they build (design, "The trajectory grammar"):

    answer   := (text | grounded | search)* end
    grounded := phrase "<seg>"
    search   := "<search>" payload "</search>" "<information>" evidence "</information>"
    payload  := "<region>" | "<whole>" | free text
"""

import json
from dataclasses import dataclass

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
    def never_in_text(self) -> tuple[int, ...]:
        """Ids that neither free text nor a text query may hold."""
        begin = () if self.begin is None else (self.begin,)
        return (
            *begin,
            self.search,
            self.search_end,
            self.region,
            self.whole,
            self.information,
            self.information_end,
            self.seg,
            self.pad,
            self.image,
        )


def add_special_tokens(tokenizer: PreTrainedTokenizerFast) -> int:
    """Add the special tokens in their fixed order; return how many rows the vocabulary grew by.

    Raises:
        ValueError: the vocabulary already holds one of them: two meanings would share an id.
    """
    vocabulary = tokenizer.get_vocab()
    taken = [token for token in SPECIAL_TOKENS if token in vocabulary]
    if taken:
        raise ValueError(
            f"the tokenizer already holds {', '.join(taken)}: choose a backbone without them, "
            "or rename the constants in pixsearch/tokens.py"
        )
    return tokenizer.add_tokens(list(SPECIAL_TOKENS), special_tokens=True)


def find_token_ids(tokenizer: PreTrainedTokenizerFast, *, image_token_id: int) -> TokenIds:
    """Look the ids up in a tokenizer to which `add_special_tokens` was applied.

    Raises:
        ValueError: a special token, the end token or the padding token is missing.
    """
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
    if missing:
        raise ValueError(
            f"the tokenizer lacks {', '.join(missing)}: was it saved by PixSearch.save_pretrained?"
        )
    if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
        raise ValueError("the tokenizer needs an eos and a pad token; one of them is not set")
    names = ("search", "search_end", "region", "whole", "information", "information_end", "seg")
    found = {name: vocabulary[token] for name, token in zip(names, SPECIAL_TOKENS, strict=True)}
    return TokenIds(
        **found,
        end=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        image=image_token_id,
        begin=_begin(tokenizer),
    )


def _begin(tokenizer: PreTrainedTokenizerFast) -> int | None:
    """The token with which the tokenizer itself begins every text; None if there is none."""
    first = tokenizer("a").input_ids[0]
    return first if first == tokenizer.bos_token_id else None


class PlainTextEncoder:
    """Encodes text from outside (questions, passages) so that it cannot yield any added token.

    It is a copy of the tokenizer's backend from which all added tokens are taken out, so that
    "</information>" in a passage becomes ordinary pieces. Works for special tokens and for added
    tokens that are not marked special (LLaVA's "<image>").
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        description = json.loads(tokenizer.backend_tokenizer.to_str())
        self._forbidden = frozenset(token["id"] for token in description["added_tokens"])
        description["added_tokens"] = []
        description["post_processor"] = None
        self._backend = Tokenizer.from_str(json.dumps(description))

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, without begin or end tokens, never an added token."""
        ids = self._backend.encode(text, add_special_tokens=False).ids
        return [token for token in ids if token not in self._forbidden]
