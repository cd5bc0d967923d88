from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pixsearch.chat import Grounded, Text
from pixsearch.datasets.grammar import check_conversation, grounded_phrases
from pixsearch.datasets.grounding import grounding_conversation
from pixsearch.datasets.templates import (
    ANSWERS,
    QUESTIONS,
    REASONS,
    SENTENCE_ANSWERS,
    SENTENCE_QUESTIONS,
    ask,
    ask_with_sentence,
    pick,
    reply,
    reply_to_sentence,
)
from tests.datasets.builders import briefly

phrases = st.lists(st.text("abc {}", min_size=1).filter(str.strip), min_size=1, max_size=12)


def test_there_are_at_least_ten_forms_and_each_has_its_place() -> None:
    for forms in (QUESTIONS, ANSWERS):
        assert len(set(forms)) == len(forms) >= 10
        assert all(form.count("{phrases}") == 1 for form in forms)


def test_there_are_at_least_ten_forms_for_sentences() -> None:
    for forms in (SENTENCE_QUESTIONS, SENTENCE_ANSWERS, REASONS):
        assert len(set(forms)) == len(forms) >= 10
    assert all(form.count("{sentence}") == 1 for form in SENTENCE_QUESTIONS)
    assert all(phrase.strip() for _, phrase, _ in SENTENCE_ANSWERS)


def test_an_answer_to_a_sentence_grounds_one_phrase() -> None:
    for key in map(str, range(40)):
        assert ask_with_sentence("What {is} it?", key=key).count("What {is} it?") == 1
        assert sum(isinstance(part, Grounded) for part in reply_to_sentence(key=key)) == 1


def test_every_form_is_picked_about_as_often() -> None:
    counts = Counter(pick(QUESTIONS, f"id {index}") for index in range(6000))
    assert len(counts) == len(QUESTIONS)
    assert min(counts.values()) > 400
    assert max(counts.values()) < 600


def test_several_phrases_are_listed() -> None:
    assert "a, b and c" in ask(["a", "b", "c"], key="x")


@briefly
@given(phrases=phrases, key=st.text())
def test_an_answer_grounds_its_phrases_in_order(phrases: list[str], key: str) -> None:
    parts = reply(phrases, key=key)
    assert [part.phrase for part in parts if isinstance(part, Grounded)] == phrases
    assert all(part.text for part in parts if isinstance(part, Text))


@briefly
@given(phrases=phrases, key=st.text())
def test_a_conversation_asks_for_every_phrase_once(phrases: list[str], key: str) -> None:
    conversation = grounding_conversation(phrases, key=key)
    assert grounded_phrases(conversation) == phrases
    check_conversation(conversation, num_masks=len(phrases), where=key)
