import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from pixsearch.tokens import (
    SPECIAL_TOKENS,
    PlainTextEncoder,
    add_special_tokens,
    find_token_ids,
)
from tests.tiny import tiny_tokenizer


def with_tokens() -> PreTrainedTokenizerFast:
    tokenizer = tiny_tokenizer()
    add_special_tokens(tokenizer)
    tokenizer.add_tokens(["<|im_end|>"])  # added, but not marked special
    return tokenizer


TOKENIZER = with_tokens()
ENCODER = PlainTextEncoder(TOKENIZER)
ADDED = sorted(TOKENIZER.added_tokens_decoder)
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from([*SPECIAL_TOKENS, "<image>", "</s>", "<pad>", "<|im_end|>"]),
        st.sampled_from(["<", ">", "</", " ", "\n", "search", "information"]),
        st.text(max_size=5),
    ),
    max_size=8,
).map("".join)


@settings(deadline=None, max_examples=300)
@given(HOSTILE)
def test_outside_text_yields_no_added_token(text: str) -> None:
    assert set(ENCODER.encode(text)).isdisjoint(ADDED)


@settings(deadline=None, max_examples=100)
@given(HOSTILE)
def test_outside_text_is_kept_word_for_word(text: str) -> None:
    decoded = TOKENIZER.decode(ENCODER.encode(text), skip_special_tokens=False)
    assert decoded.removeprefix(" ") == text.removeprefix(" ")


def test_the_tokenizer_itself_would_have_yielded_them() -> None:
    assert TOKENIZER.convert_tokens_to_ids("<search>") in TOKENIZER("a <search> b").input_ids


def test_plain_text_is_encoded_as_usual() -> None:
    text = "The Velmora cup is made in Tarnwick."
    assert ENCODER.encode(text) == TOKENIZER(text, add_special_tokens=False).input_ids


def test_ids_are_the_last_seven_and_all_different() -> None:
    tokenizer = tiny_tokenizer()
    size = len(tokenizer)
    assert add_special_tokens(tokenizer) == len(SPECIAL_TOKENS) == 7
    ids = find_token_ids(tokenizer, image_token_id=2)
    assert (ids.search, ids.seg) == (size, size + 6)
    assert len({*ids.never_in_text, ids.end}) == 10


def test_a_backbone_with_one_of_them_is_refused() -> None:
    with pytest.raises(ValueError, match="already holds <search>"):
        add_special_tokens(with_tokens())


def test_missing_tokens_are_named() -> None:
    with pytest.raises(ValueError, match="lacks <search>"):
        find_token_ids(tiny_tokenizer(), image_token_id=2)
    no_pad = with_tokens()
    no_pad.pad_token = None
    with pytest.raises(ValueError, match="needs an eos and a pad token"):
        find_token_ids(no_pad, image_token_id=2)


def test_what_text_can_hold_stands_for_no_token() -> None:
    """A question or a passage could yield it: only added tokens are kept out of them."""
    tokenizer = tiny_tokenizer()
    piece = tokenizer.convert_ids_to_tokens(ENCODER.encode("the cup"))[-1]
    mapping = {"<seg>": piece}
    add_special_tokens(tokenizer, mapping)
    with pytest.raises(ValueError, match=rf"'{piece}': an ordinary piece .*model.token_mapping"):
        find_token_ids(tokenizer, image_token_id=2, mapping=mapping)
    with pytest.raises(ValueError, match="an ordinary piece"):
        find_token_ids(with_tokens(), image_token_id=ENCODER.encode("cup")[-1])
