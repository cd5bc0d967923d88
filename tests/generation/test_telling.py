"""Text that is told as it grows."""

import pytest
from transformers import PreTrainedTokenizerFast

from pixsearch.chat import ChatRenderer
from pixsearch.chat_templates import TEMPLATES, ChatTemplate
from pixsearch.config import ChatStyle, GenerationOptions, PolicyOptions, QueryType
from pixsearch.generation import Event, Finished, Request, SearchRecord, TokenEvent, Trajectory
from pixsearch.generation.constraints import VocabularyConstraints
from pixsearch.generation.prompting import open_row
from pixsearch.generation.row import Row
from pixsearch.generation.telling import GrowingText, Telling
from pixsearch.queries import Passage
from pixsearch.tokens import add_special_tokens, find_token_ids
from tests.generation.scripted import QUESTION, picture
from tests.test_chat import llama_tokenizer
from tests.tiny import tiny_tokenizer

END = "<|end|>"


def decode(ids: list[int]) -> str:
    """Of ids that are bytes."""
    return bytes(ids).decode(errors="replace")


@pytest.mark.parametrize("text", ["é", "a cup €", "ab\ufffd"])
def test_all_that_was_said_is_told_in_the_end(text: str) -> None:
    for given in (text.encode(), text.encode()[:-1]):  # a whole character last, or a part of one
        growing = GrowingText(decode)
        told = "".join(growing.add(byte) for byte in given)
        assert told + growing.rest() == decode(list(given))


@pytest.mark.parametrize(
    ("text", "told", "rest"),
    [
        (f"a cup{END}\nb", "a cup", ""),
        (f"a <|e<{END}", "a <|e<", ""),
        ("a cup<|end", "a cup", "<|end"),
        ("a <|ed cup", "a <|ed cup", ""),
    ],
)
def test_words_that_end_a_text_are_not_told(text: str, told: str, rest: str) -> None:
    growing = GrowingText(decode, END)
    assert "".join(growing.add(byte) for byte in text.encode()) == told
    assert growing.rest() == rest


def test_what_was_held_back_is_told_before_a_search() -> None:
    growing = GrowingText(decode, END)
    assert "".join(growing.add(byte) for byte in b"a <") == "a "
    assert growing.flush() == "<"
    assert "".join(growing.add(byte) for byte in b"|end|> The cup") == "|end|> The cup"


def renderer_of(tokenizer: PreTrainedTokenizerFast, template: ChatTemplate) -> ChatRenderer:
    add_special_tokens(tokenizer)
    ids = find_token_ids(tokenizer, image_token_id=tokenizer.convert_tokens_to_ids("<image>"))
    return ChatRenderer(tokenizer, ids, num_image_tokens=4, template=template)


def tell(renderer: ChatRenderer, *parts: str) -> list[Event]:
    """What is told of a row that is given these words, and tokens as `:search`."""
    row = open_row(
        Request(id="one", question=QUESTION, image=picture()),
        renderer=renderer,
        policy=PolicyOptions(),
        options=GenerationOptions(),
    )
    constraints = VocabularyConstraints(renderer.ids, vocabulary_size=len(renderer.tokenizer))
    telling = Telling(renderer, tells_all=True)
    for part in parts:
        is_token = part.startswith(":")
        ids = [getattr(renderer.ids, part[1:])] if is_token else renderer.plain_ids(part)
        for token in ids:
            row.append(token, constraints.class_of(token))
            if renderer.has_ended(row.rendered):
                row.end(renderer.ids.end)
            telling.tokens([row])
            _inject(row, renderer, telling)
    telling.end(row)
    return telling.take()


def _inject(row: Row, renderer: ChatRenderer, telling: Telling) -> None:
    if row.awaits_evidence:
        passage = Passage(id="1", title="", text="The Velmora cup is made in Tarnwick.")
        record = SearchRecord(type=QueryType.text)
        row.inject(renderer.evidence_ids([passage], question=QUESTION)[0], record)
        telling.evidence(row, record)


def told(events: list[Event]) -> tuple[str, str, Trajectory]:
    """The words of the answer, those of the queries, and all at once."""
    tokens = [event for event in events if isinstance(event, TokenEvent)]
    answer, query = (
        "".join(event.text for event in tokens if event.in_query is in_query)
        for in_query in (False, True)
    )
    assert isinstance(events[-1], Finished)
    return answer, query, events[-1].result()


def test_a_stream_keeps_the_blanks_around_a_search() -> None:
    """A decoder like LLaMA's takes the first blank of what it is given."""
    renderer = renderer_of(llama_tokenizer("first"), ChatTemplate())
    around = (" It is the red cup", ":search", ":whole", ":search_end", " The Velmora cup")
    answer, query, trajectory = told(tell(renderer, *around, ":end"))
    assert (answer, query) == ("It is the red cup The Velmora cup", "")
    assert answer == trajectory.all_text
    assert trajectory.answer_text == "The Velmora cup"
    by_words = (":search", " Where is Tarnwick", ":search_end", " In Osmeth", ":end")
    answer, query, _ = told(tell(renderer, *around, *by_words))
    assert answer == "It is the red cup The Velmora cup In Osmeth"
    assert query == "Where is Tarnwick"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((" It is the cup.<|end|>",), "It is the cup."),
        ((" It is the cup.<|en", ":end"), "It is the cup.<|en"),
    ],
)
def test_a_stream_holds_no_words_that_end_an_answer(parts: tuple[str, ...], expected: str) -> None:
    """Sa2VA-4B writes Phi-3's end in ordinary pieces."""
    renderer = renderer_of(tiny_tokenizer(), TEMPLATES[ChatStyle.sa2va_phi3])
    answer, _, trajectory = told(tell(renderer, *parts))
    assert answer.strip() == trajectory.answer_text == expected
