"""A model behind a real server that answers well, badly, late and not at all."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pixsearch import key_table
from pixsearch.config import AnswerFormat, TeacherOptions
from pixsearch.endpoint.answers import AnswerCache, PaidAnswer
from pixsearch.endpoint.asking import ask
from pixsearch.endpoint.chat import ChatEndpoint
from pixsearch.endpoint.prompts import Prompt
from pixsearch.endpoint.rates import Rate
from pixsearch.endpoint.request import (
    ChatRequest,
    EndpointUnavailable,
    MalformedAnswer,
    RefusedRequest,
)
from pixsearch.endpoint.schema import NUMBER, record
from pixsearch.trajectories.teacher.prompts import FOLDER, read_prompts
from pixsearch.trajectories.teacher.tasks import Task
from tests.chat_server import Act, Asked, ChatServer, serving
from tests.trajectories.toys import patient_not

GOOD = Act(text='{"chosen": 2}')
IMAGE = Image.new("RGB", (64, 32), (200, 30, 30))


def at_most_two(answer: dict[str, Any]) -> int:
    if answer["chosen"] > 2:
        raise ValueError(f"chosen is {answer['chosen']}; the responses are 1 to 2")
    return answer["chosen"]


def request(*, image: Image.Image | None = None, **fields: Any) -> ChatRequest:
    return ChatRequest(
        task=Task.choose,
        question_key="toy/1",
        fields={"question": "which?", **fields},
        schema=record(chosen=NUMBER),
        read=at_most_two,
        load_image=None if image is None else lambda: image,
    )


_opened: list[ChatEndpoint] = []


@pytest.fixture(autouse=True)
def _close(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TOY_KEY", "secret")
    yield
    while _opened:
        _opened.pop().close()


def teacher_of(
    server: ChatServer, folder: Path, prompts: dict[Task, Prompt] | None = None, **changes: Any
) -> ChatEndpoint:
    options = TeacherOptions(**{"url": server.url, "client": patient_not(), **changes})
    cache = AnswerCache(folder / "answers.jsonl")
    side, again = options.image_side, "retry_quarantined=true"
    made = ChatEndpoint(
        options, prompts or read_prompts(), cache=cache, image_side=side, again=again
    )
    _opened.append(made)
    return _opened[-1]


def answered(
    script: Callable[[Asked], Act], folder: Path, *, made: ChatRequest | None = None, **changes
) -> tuple[Any, ChatServer, ChatEndpoint]:
    """What one request comes to."""
    with serving(script) as server:
        teacher = teacher_of(server, folder, **changes)
        return ask(teacher, made or request(), corrections=2), server, teacher


def in_turn(*acts: Act) -> Callable[[Asked], Act]:
    """One after the other, the last one for ever."""
    left = list(acts)
    return lambda asked: left.pop(0) if len(left) > 1 else left[0]


def test_a_request_is_what_servers_expect(tmp_path: Path) -> None:
    made = request(image=IMAGE, name="Übermut")
    value, server, teacher = answered(lambda asked: GOOD, tmp_path, made=made)
    assert value == 2
    (asked,) = server.asked
    assert asked.authorization == "Bearer secret"
    assert asked.fields == {"question": "which?", "name": "Übermut"}
    assert (asked.body["model"], asked.body["temperature"]) == ("gpt-4.1", 0.7)
    assert asked.body["max_tokens"] == 2048
    described = asked.body["response_format"]["json_schema"]
    assert (described["name"], described["strict"]) == ("choose", True)
    assert described["schema"] == made.schema
    picture = asked.body["messages"][1]["content"][0]["image_url"]["url"]
    assert picture.startswith("data:image/jpeg;base64,")
    assert teacher.meter.paid.input_tokens == 100


def test_large_images_are_sent_small(tmp_path: Path) -> None:
    made = request(image=Image.new("RGB", (900, 300)))
    _, small, _ = answered(lambda asked: GOOD, tmp_path / "a", made=made, image_side=30)
    _, large, _ = answered(lambda asked: GOOD, tmp_path / "b", made=made)
    sizes = [len(json.dumps(server.asked[0].body)) for server in (small, large)]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("format", [AnswerFormat.json_object, AnswerFormat.prompt])
def test_servers_without_schemas(tmp_path: Path, format: AnswerFormat) -> None:
    value, server, _ = answered(lambda asked: GOOD, tmp_path, answer_format=format)
    sent = server.asked[0].body.get("response_format")
    assert value == 2
    assert sent == ({"type": "json_object"} if format is AnswerFormat.json_object else None)


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (Act(text="I choose the second."), "is not JSON"),
        (Act(text='{"chosen": "2"}'), "the answer.chosen is a string, not integer"),
        (Act(text='{"choice": 2}'), "the answer lacks chosen"),
        (Act(text='{"chosen": 3}'), "chosen is 3; the responses are 1 to 2"),
        (Act(text='{"chosen": 2}', finish_reason="length"), "it must be shorter"),
    ],
)
def test_a_malformed_answer_is_asked_again_with_what_is_wrong(tmp_path, bad, complaint):
    value, server, teacher = answered(in_turn(bad, GOOD), tmp_path)
    assert value == 2
    *_, said, told = server.asked[1].body["messages"]
    assert (said["role"], said["content"]) == ("assistant", bad.text)
    assert complaint in told["content"]
    assert teacher.meter.paid.requests == 2


@pytest.mark.parametrize("empty", [Act(text=None), Act(has_choice=False), Act(text="")])
def test_an_empty_answer_is_a_malformed_one(tmp_path: Path, empty: Act) -> None:
    """It is not tried again as a failing server is, and is not kept."""
    value, server, teacher = answered(in_turn(empty, GOOD), tmp_path)
    assert (value, len(server.asked), teacher.meter.paid.requests) == (2, 2, 2)
    assert server.asked[1].body["messages"][2]["content"] == "(no words)"
    assert [answer.text for answer in teacher.cache] == [GOOD.text]


def test_it_is_asked_again_so_often_and_no_more(tmp_path: Path) -> None:
    with serving(lambda asked: Act(text="mumble")) as server:
        teacher = teacher_of(server, tmp_path)
        with pytest.raises(MalformedAnswer, match="choose: the answer is not JSON"):
            ask(teacher, request(), corrections=2)
        assert [asked.corrections for asked in server.asked] == [0, 1, 2]


def test_json_in_a_fence_is_json(tmp_path: Path) -> None:
    fenced = Act(text='```json\n{"chosen": 1}\n```')
    assert answered(lambda asked: fenced, tmp_path)[0] == 1


@pytest.mark.parametrize(
    "failure",
    [
        Act(status=429, headers={"Retry-After": "0"}),
        Act(status=500),
        Act(status=503),
        Act(text=GOOD.text, is_short=True),
    ],
    ids=["429", "500", "503", "truncated"],
)
def test_what_may_pass_is_tried_again(tmp_path: Path, failure: Act) -> None:
    value, server, teacher = answered(in_turn(failure, failure, GOOD), tmp_path)
    assert (value, len(server.asked), teacher.meter.paid.requests) == (2, 3, 1)


def test_a_slow_answer_is_given_up(tmp_path: Path) -> None:
    with serving(lambda asked: replace(GOOD, wait_for=server.released)) as server:
        client = patient_not(timeout_seconds=0.2, retries=1)
        teacher = teacher_of(server, tmp_path, client=client)
        with pytest.raises(EndpointUnavailable, match=r"no answer in time.*it goes on"):
            ask(teacher, request(), corrections=2)
        assert len(server.asked) == 2


def test_a_server_that_asks_for_too_much_patience_ends_the_run(tmp_path: Path) -> None:
    busy = Act(status=429, headers={"Retry-After": "3600"})
    with pytest.raises(EndpointUnavailable, match="status 429"):
        answered(lambda asked: busy, tmp_path)


@pytest.mark.parametrize("act", [Act(status=400), Act(status=422), Act(refusal="I may not")])
def test_a_request_that_is_refused_is_not_asked_again(tmp_path: Path, act: Act) -> None:
    with serving(lambda asked: act) as server:
        with pytest.raises(RefusedRequest):
            ask(teacher_of(server, tmp_path), request(), corrections=2)
        assert len(server.asked) == 1


def test_what_a_filter_ended_is_paid_for(tmp_path: Path) -> None:
    with serving(lambda asked: Act(refusal="I may not")) as server:
        teacher = teacher_of(server, tmp_path)
        with pytest.raises(RefusedRequest):
            ask(teacher, request(), corrections=0)
    assert teacher.meter.paid.requests == 1
    assert teacher.meter.paid.input_tokens > 0
    assert len(teacher.cache) == 0


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_key_that_is_refused_ends_the_run(tmp_path: Path, status: int) -> None:
    with pytest.raises(EndpointUnavailable, match=f"status {status}"):
        answered(lambda asked: Act(status=status), tmp_path)


def test_tokens_that_the_server_does_not_count_are_estimated(tmp_path: Path) -> None:
    _, _, teacher = answered(lambda asked: replace(GOOD, usage=None), tmp_path)
    (answer,) = teacher.cache
    assert not answer.is_metered
    assert answer.input_tokens > 100  # the prompt has some 1,200 characters
    assert teacher.meter.paid.unmetered == 1


def test_no_request_is_paid_for_twice(tmp_path: Path) -> None:
    with serving(lambda asked: GOOD) as server:
        for _ in range(2):  # as two processes would
            teacher = teacher_of(server, tmp_path)
            assert ask(teacher, request(image=IMAGE), corrections=0) == 2
        assert (teacher.meter.paid.requests, teacher.meter.from_cache) == (0, 1)
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "change", ["fields", "image", "model", "temperature", "prompt", "url", "image_side"]
)
def test_another_request_is_another_answer(tmp_path: Path, change: str) -> None:
    with serving(lambda asked: GOOD) as server:
        first, changed = teacher_of(server, tmp_path), {}
        if change in ("model", "temperature"):
            changed = {"model": "other"} if change == "model" else {"temperature": 0.1}
        other = teacher_of(server, tmp_path, **changed)
        if change == "image_side":
            other = teacher_of(server, tmp_path, image_side=16)
        if change == "url":
            other = teacher_of(server, tmp_path, url=server.url.replace("127.0.0.1", "localhost"))
        if change == "prompt":  # a new version of the same words
            prompts = read_prompts()
            prompts[Task.choose] = replace(prompts[Task.choose], version="choose_v2")
            other = teacher_of(server, tmp_path, prompts)
        ask(first, request(image=IMAGE), corrections=0)
        picture = Image.new("RGB", (64, 32)) if change == "image" else IMAGE
        fields = {"more": 1} if change == "fields" else {}
        ask(other, request(image=picture, **fields), corrections=0)
        assert len(server.asked) == 2


def paid(key: str, text: str = "ä\u2028b") -> PaidAnswer:
    return PaidAnswer(
        key=key, task="select", prompt="select_v1", text=text, is_cut=False, input_tokens=1,
        output_tokens=1, is_metered=True,
    )  # fmt: skip


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_cache_that_a_kill_has_cut_keeps_its_whole_lines(tmp_path: Path, cut: int) -> None:
    cache = AnswerCache(tmp_path / "answers.jsonl")
    cache.add(paid("a"))
    cache.add(paid("b"))
    cache.path.write_bytes(cache.path.read_bytes()[:-cut])
    again = AnswerCache(cache.path)
    assert (again.get("a"), again.get("b")) == (paid("a"), None)
    again.add(paid("c"))
    assert [answer.key for answer in AnswerCache(cache.path)] == ["a", "c"]


def test_the_last_answer_of_a_key_counts(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "answers.jsonl")
    for text in ("one", "two"):
        cache.add(paid("a", text))
    assert [each.get("a") for each in (cache, AnswerCache(cache.path))] == 2 * [paid("a", "two")]
    assert len(cache) == 1


def test_keys_of_one_hash_never_get_each_others_answers(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(key_table, "key_hash", lambda key: 7)
    cache = AnswerCache(tmp_path / "answers.jsonl")
    cache.add(paid("a"))
    assert (cache.get("a"), cache.get("b")) == (paid("a"), None)
    cache.add(paid("b"))
    assert (cache.get("a"), cache.get("b")) == (None, paid("b"))


@pytest.mark.parametrize("line", ["nonsense", "[]", "{}", '{"key": 1}'])
def test_a_broken_line_of_a_cache_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "answers.jsonl").write_text(f"{line}\n")
    with pytest.raises(ValueError, match=r"answers\.jsonl:1: no record"):
        AnswerCache(tmp_path / "answers.jsonl")


def test_a_rate_spreads_what_is_taken() -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))

    rate = Rate(60, clock=lambda: now[0], sleep=sleep)
    for _ in range(3):
        rate.take(2)  # two seconds' worth
    rate.correct(-2)
    rate.take(1)
    now[0] = 100.0
    rate.take(1)
    assert slept == [2.0, 4.0, 4.0]


def test_both_limits_are_obeyed_at_each_try(tmp_path: Path, monkeypatch) -> None:
    taken: list[tuple[int, int]] = []

    def take(self: Rate, amount: int) -> None:
        taken.append((round(self._per_second * 60), amount))

    monkeypatch.setattr(Rate, "take", take)
    answered(in_turn(Act(status=500), GOOD), tmp_path, requests_per_minute=6, tokens_per_minute=900)
    assert [rate for rate, _ in taken] == [6, 900, 6, 900]
    assert taken[0][1] == 1
    assert taken[1][1] > 300  # the prompt's


def test_prompts_may_be_ones_own(tmp_path: Path) -> None:
    for path in FOLDER.glob("*.md"):
        (tmp_path / path.name).write_text(path.read_text() + "\nBe brief.")
    own = read_prompts(str(tmp_path))
    assert own[Task.judge].text.endswith("Be brief.")
    assert own[Task.judge].version != read_prompts()[Task.judge].version
    (tmp_path / "judge_v1.md").unlink()
    with pytest.raises(ValueError, match=r"judge_v1\.md: no such prompt; copy"):
        read_prompts(str(tmp_path))
