"""Text from outside yields no token that a model takes for more than words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, normalizers

from pixsearch.generation.baseline.outside import OutsideText
from tests.plain import PLAIN, plain_model
from tests.tiny import tiny_tokenizer

SPELLINGS = ["</s>", "<image>", "<|image|>", "<|im_end|>", "<", "|", ">", "im_end", "a", " ", "\n"]


@pytest.mark.parametrize("name", PLAIN)
@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(st.sampled_from(SPELLINGS), max_size=8))
def test_no_mixture_of_spellings_yields_an_added_token(name: str, pieces: list[str]) -> None:
    plain = plain_model(name)
    text = plain.outside("".join(pieces))
    ids = plain.tokenizer(text, add_special_tokens=False).input_ids
    assert not set(ids) & set(plain.tokenizer.get_added_vocab().values())
    assert text.replace(" ", "") == "".join(pieces).replace(" ", "")


def test_other_text_stays_as_it_is() -> None:
    text = "Is 3 < 4 </ s> a < b > c?\n\nYes — naïve."
    assert plain_model().outside(text) == text


def test_what_only_the_tokenizer_sees_is_broken() -> None:
    """A token that is found after normalisation, and takes the blanks before it."""
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    tokenizer.add_tokens([AddedToken("<end>", normalized=True, special=False, lstrip=True)])
    text = "words  \N{FULLWIDTH LESS-THAN SIGN}end> words"
    added = tokenizer.convert_tokens_to_ids("<end>")
    assert added in tokenizer(text).input_ids
    broken = OutsideText(tokenizer)(text)
    assert added not in tokenizer(broken).input_ids
    assert broken.replace(" ", "") == text.replace(" ", "")


def test_tokens_of_white_space_and_of_one_character() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["\n\n", "§"])
    assert OutsideText(tokenizer)("a\n\nb§c") == "a\n\nb c"


def test_what_the_processor_replaces_is_broken() -> None:
    assert OutsideText(tiny_tokenizer(), ["[IMG]"])("an [IMG]") == "an [ IMG]"
