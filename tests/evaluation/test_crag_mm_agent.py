"""The agent in a loop as the starter kit's own, with a tiny real model."""

import threading
from dataclasses import replace
from functools import partial

import pytest
from PIL import Image

from pixsearch.config import (
    CragMMAgentOptions,
    ForcedFirst,
    GenerationOptions,
    OnSearchFailure,
    PolicyOptions,
)
from pixsearch.evaluation import crag_mm_agent
from pixsearch.evaluation.crag_mm_agent import CragMMAgent
from pixsearch.generation import Engine
from pixsearch.generation.deadline import Deadline
from pixsearch.queries import Passage, Query
from tests.generation.scripted import picture
from tests.generation.test_deadline import Clock, eager_model
from tests.tiny import tiny_model_folder

POLICY = PolicyOptions(on_search_failure=OnSearchFailure.answer_without)


class Source:
    """Finds one passage for each query."""

    def __init__(self) -> None:
        self.queries: list[Query] = []

    def search(self, queries, k, *, region_crop):
        self.queries += queries
        return [[Passage(id="p", title="", text="The cup is made in Tarnwick.")] for _ in queries]


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    return CragMMAgentOptions(
        checkpoint=str(tiny_model_folder(tmp_path_factory.mktemp("agent") / "checkpoint")),
        policy=POLICY,
        generation=GenerationOptions(max_new_tokens=40, answer_tokens=8, batch_size=3),
        seconds_per_turn=60.0,
    )


@pytest.fixture(scope="module")
def agent(options):
    return CragMMAgent(Source(), options)


def conversations() -> list[tuple[Image.Image, list[str]]]:
    first = (picture(1), ["What is this?", "Who made it?", "Where is it made?"])
    return [first, (picture(2), ["How many lamps are there?"]), (picture(3), ["Name it.", "Why?"])]


def play(agent: CragMMAgent) -> dict[tuple[int, int], str]:
    """As the kit does: a turn of each conversation at a time, the agent's own answers as history,
    which it cuts and of which it takes no empty one."""
    answers: dict[tuple[int, int], str] = {}
    talks = conversations()
    for number in range(max(len(questions) for _, questions in talks)):
        turns = [(talk, number) for talk, (_, asked) in enumerate(talks) if number < len(asked)]
        size = min(max(agent.get_batch_size(), 1), 16)
        for start in range(0, len(turns), size):
            batch = turns[start : start + size]
            found = agent.batch_generate_response(
                [talks[talk][1][place] for talk, place in batch],
                [talks[talk][0] for talk, _ in batch],
                [history(talks[talk][1], talk, place, answers) for talk, place in batch],
            )
            assert len(found) == len(batch)
            answers |= dict(zip(batch, found, strict=True))
    return answers


def history(questions, talk, place, answers):
    turns = []
    for earlier in range(place):
        turns.append({"role": "user", "content": questions[earlier]})
        turns.append({"role": "assistant", "content": answers[talk, earlier]})
    return turns


def test_a_loop_as_the_kits_own_gets_an_answer_to_every_turn(agent):
    answers = play(agent)
    assert len(answers) == 6
    assert all(isinstance(answer, str) and answer.strip() for answer in answers.values())
    assert agent.num_failed == 0


def test_history_reaches_the_model(agent, monkeypatch):
    asked = []
    open_row = Engine.open

    def keeping(engine, request):
        asked.append(request)
        return open_row(engine, request)

    monkeypatch.setattr(Engine, "open", keeping)
    turns = [
        {"role": "user", "content": "What is the red cup?"},
        {"role": "assistant", "content": "It is the Velmora cup."},
    ]
    agent.batch_generate_response(["Who made it?"], [picture(1)], [turns])
    (request,) = asked
    assert [(one.role, one.parts[0].text) for one in request.history] == [
        ("user", "What is the red cup?"),
        ("assistant", "It is the Velmora cup."),
    ]


def test_a_turn_that_fails_is_answered_and_the_others_too(agent):
    failed = agent.num_failed
    answers = agent.batch_generate_response(
        ["What is this?", "  ", "word " * 3000], [picture(1)] * 3, [[]] * 3
    )
    assert answers[1:] == ["I don't know."] * 2
    assert agent.num_failed == failed + 2
    assert answers[0] == agent.batch_generate_response(["What is this?"], [picture(1)], [[]])[0]


def test_a_broken_image_is_the_failure_of_its_turn_alone(agent, tmp_path):
    picture(1).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    failed = agent.num_failed
    with Image.open(tmp_path / "cut.png") as broken:  # decoded when it is looked at
        answers = agent.batch_generate_response(["What?"] * 2, [picture(1), broken], [[], []])
    assert answers[1] == "I don't know."
    assert agent.num_failed == failed + 1


def test_answers_are_cut_to_75_tokens(options):
    agent = CragMMAgent(Source(), options)
    tokenizer = agent._answer_tokenizer
    cut = agent._cut("What is the name of the red cup? " * 50)
    assert len(tokenizer.encode(cut).ids) <= 75 < len(tokenizer.encode(cut + " of the red cup").ids)
    assert agent._cut(" ") == "I don't know."
    assert agent.num_empty == 1


@pytest.mark.parametrize(
    ("queries", "images", "histories", "message"),
    [
        (["a?"], [], [[]], "1 queries, 0 images and 1 histories"),
        (["a?"], [None], [[{"role": "system", "content": "b"}]], "role='system'"),
        (["a?"], [None], [[{"role": "user", "content": ["b"]}]], "content of type list"),
    ],
)
def test_what_is_not_the_kits_form_is_refused(agent, queries, images, histories, message):
    with pytest.raises(ValueError, match=message):
        agent.batch_generate_response(queries, images, histories)


def test_turns_without_time_are_answered_at_once(options):
    source = Source()
    hurried = CragMMAgent(
        source,
        replace(
            options,
            seconds_per_turn=1e-9,
            policy=replace(POLICY, allow=[], forced_first=ForcedFirst.whole_image),
        ),
    )
    answers = hurried.batch_generate_response(["What is this?"] * 2, [picture(1)] * 2, [[], []])
    assert answers == ["I don't know."] * 2
    assert source.queries == []
    assert hurried.num_failed == 0


class StuckSource(Source):
    """Does not come back from its first search until it is released; meanwhile the time passes."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self.released, self.came_back = threading.Event(), threading.Event()
        self._clock = clock
        self._seconds = seconds

    def search(self, queries, k, *, region_crop):
        if not self.released.is_set():
            self._clock.now += self._seconds
            self.released.wait()
        found = super().search(queries, k, region_crop=region_crop)
        self.came_back.set()
        return found


def timed_agent(options, source, clock, monkeypatch, **changes) -> CragMMAgent:
    """By another clock; its model searches whenever it may, else says "cup", and never ends."""
    monkeypatch.setattr(crag_mm_agent, "Deadline", partial(Deadline, clock))
    changed = replace(
        options,
        policy=replace(POLICY, evidence_tokens=40),
        generation=GenerationOptions(max_new_tokens=300, answer_tokens=8, batch_size=3),
        **changes,
    )
    agent = CragMMAgent(source, changed)
    eager_model(agent._model, monkeypatch)
    return agent


def num_cups(agent: CragMMAgent, answer: str) -> int:
    assert set(answer.split()) == {"cup"}
    num_tokens = len(agent._answer_tokenizer.encode(answer).ids)
    assert num_tokens == len(answer.split())
    return num_tokens


@pytest.mark.parametrize(("seconds", "num_calls", "is_long"), [(30.0, 2, False), (90.0, 1, True)])
def test_time_that_is_up_in_the_middle_of_answers_leaves_their_words(
    options, monkeypatch, seconds, num_calls, is_long
):
    clock, source = Clock(), Source()
    agent = timed_agent(options, source, clock, monkeypatch, seconds_per_turn=seconds)
    for _ in range(num_calls):  # each has its own time
        begin, num_asked = clock.now, len(source.queries)
        answers = agent.batch_generate_response(["What is this?"] * 2, [picture(1)] * 2, [[], []])
        assert clock.now - begin < 2 * seconds  # the limit of tokens comes later
        assert len(source.queries) > num_asked
        for answer in answers:
            cups = num_cups(agent, answer)
            assert cups == 75 if is_long else 5 < cups < 75
    assert agent.num_failed == agent.num_empty == 0


def test_time_that_is_up_in_the_middle_of_a_search_leaves_the_answer_without_it(
    options, monkeypatch
):
    clock = Clock(0.01)
    source = StuckSource(clock, seconds=0.6)  # all there is for searching, which is waited for
    agent = timed_agent(options, source, clock, monkeypatch, seconds_per_turn=1.0)
    (answer,) = agent.batch_generate_response(["What is this?"], [picture(1)], [[]])
    assert source.queries == []
    assert num_cups(agent, answer) > 5
    source.released.set()
    assert source.came_back.wait(20)
    num_asked = len(source.queries)
    (answer,) = agent.batch_generate_response(["Who made it?"], [picture(1)], [[]])
    assert len(source.queries) > num_asked
    assert num_cups(agent, answer) > 5
    assert agent.num_failed == agent.num_empty == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search_share": 0.95}, "search_share=0.95 is to be less than answer_share=0.9"),
        ({"policy": PolicyOptions()}, "set answer_without"),
        ({"generation": GenerationOptions(batch_size=32)}, "1 to 16 turns"),
        ({"unknown": " "}, "unknown is empty"),
    ],
)
def test_bad_options_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CragMMAgentOptions(checkpoint="c", **changes)
