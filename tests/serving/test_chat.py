"""OpenAI's client asks; the reply is what the engine answers, and nobody's slot is lost."""

import base64
import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from pixsearch.config import (
    ChatServerOptions,
    ForcedFirst,
    GenerationOptions,
    OnSearchFailure,
    PolicyOptions,
    ServeOptions,
)
from pixsearch.evaluation.gold import decode_rle
from pixsearch.generation import Engine, Request
from pixsearch.generation.row import Row
from pixsearch.model import PixSearch
from pixsearch.queries import Passage, Query, SearchFailed
from pixsearch.serving.serve import serve
from tests.generation.scripted import QUESTION, RecordingSearch, Scripted, ids_of, picture
from tests.retrieval.serving import PATIENCE, until
from tests.serving.chatting import Serving, serving

SEARCHING = [
    *("It is the red cup", ":seg", ":search", ":region", ":search_end"),
    *("The Velmora", ":search", "Where is Tarnwick", ":search_end", "In Osmeth"),
]
ANSWER = "In Osmeth"
INSTRUCTION = {"role": "system", "content": "Answer in one word."}
POLICY = PolicyOptions(evidence_tokens=40)


class ForEveryRequest(Scripted):
    """The same script for each request, whose id the server draws."""

    def __init__(self, ids: list[int]) -> None:
        super().__init__({})
        self._ids = ids

    def __call__(self, logits, rows: Sequence[Row]):
        self._scripts = {row.request.id: self._ids for row in rows}
        return super().__call__(logits, rows)


def data_url(**size: int) -> str:
    file = io.BytesIO()
    picture(**size).save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def asked(question: str = QUESTION, *, url: str | None = None) -> list[dict]:
    image = {"type": "image_url", "image_url": {"url": url or data_url()}}
    return [{"role": "user", "content": [image, {"type": "text", "text": question}]}]


def parts(*several: dict) -> list[dict]:
    return [{"role": "user", "content": [*several, {"type": "text", "text": QUESTION}]}]


@pytest.fixture(scope="module")
def server(shared_model: PixSearch) -> Iterator[Serving]:
    choose = ForEveryRequest(ids_of(shared_model, *SEARCHING))
    with serving(shared_model, RecordingSearch(), policy=POLICY, choose=choose) as started:
        yield started


def complete(server: Serving, messages: list[dict] | None = None, **options):
    client = server.client()
    return client.chat.completions.create(
        model="pixsearch", messages=messages or asked(), **options
    )


def test_a_reply_is_what_the_engine_answers(server: Serving, shared_model: PixSearch) -> None:
    reply = complete(server)
    engine = Engine(
        shared_model,
        RecordingSearch(),
        POLICY,
        GenerationOptions(),
        choose=Scripted({"1": ids_of(shared_model, *SEARCHING)}),
    )
    (expected,) = engine.generate([Request(id="1", question=QUESTION, image=picture())])
    message = reply.choices[0].message
    assert message.content == expected.answer_text == ANSWER
    assert reply.choices[0].finish_reason == "stop"
    region, text = message.pixsearch["searches"]
    assert region["type"] == "region"
    assert text["text"] == "Where is Tarnwick"
    assert text["passages"][0]["text"].startswith("The Velmora cup")
    (phrase,) = message.pixsearch["phrases"]
    assert phrase["phrase"] == expected.grounded[0].phrase
    np.testing.assert_array_equal(decode_rle(phrase["mask"]), expected.grounded[0].mask)
    assert reply.usage.total_tokens == len(expected.rendered)
    assert reply.usage.completion_tokens == message.pixsearch["token_counts"]["generated"]


def test_a_stream_tells_what_happens_in_order(server: Serving) -> None:
    chunks = list(complete(server, stream=True, stream_options={"include_usage": True}))
    *told, last, usage = chunks
    events = [
        chunk.choices[0].delta.pixsearch["event"]
        for chunk in told
        if getattr(chunk.choices[0].delta, "pixsearch", None)
    ]
    assert events.count("search_started") == events.count("evidence") == 2
    assert events.index("search_started") < events.index("evidence")
    assert "mask" in events
    words = "".join(chunk.choices[0].delta.content or "" for chunk in told)
    details = last.choices[0].delta.pixsearch
    assert words.split() == ["It", "is", "the", "red", "cup", "The", "Velmora", "In", "Osmeth"]
    assert details["answer"] == ANSWER
    assert last.choices[0].finish_reason == "stop"
    assert usage.usage.total_tokens == sum(details["token_counts"].values())


def test_instructions_and_earlier_turns_are_read(server: Serving) -> None:
    follow_up = [
        INSTRUCTION,
        *asked(),
        {"role": "assistant", "content": ANSWER},
        {"role": "user", "content": "And who lives there?"},
    ]
    short, long = complete(server), complete(server, follow_up)
    assert long.usage.prompt_tokens > short.usage.prompt_tokens + 10


@pytest.mark.parametrize("forced", [ForcedFirst.text_query, ForcedFirst.whole_image])
def test_searches_go_by_the_question_without_instructions(
    shared_model: PixSearch, forced: ForcedFirst
) -> None:
    search = RecordingSearch()
    policy = PolicyOptions(forced_first=forced, allow=[])
    choose = ForEveryRequest(ids_of(shared_model, "In Osmeth"))
    with serving(shared_model, search, policy=policy, choose=choose) as started:
        complete(started, [INSTRUCTION, *asked()])
    (query,) = search.queries
    assert (query.question if query.text is None else query.text) == QUESTION


def test_fields_that_change_nothing_are_not_looked_at(server: Serving) -> None:
    harmless = {
        "seed": 1,
        "user": "me",
        "parallel_tool_calls": False,
        "prediction": {"type": "content", "content": "In"},
        "modalities": ["text"],
        "tool_choice": "none",
    }
    assert complete(server, **harmless).choices[0].message.content == ANSWER


def test_an_answer_may_be_shortened(server: Serving) -> None:
    with serving_words(server) as words:
        reply = complete(words, max_tokens=5)
    assert reply.usage.completion_tokens == 5
    assert reply.choices[0].finish_reason == "length"


def serving_words(server: Serving):
    """A server whose model says words without an end."""
    model = server.engine._model
    choose = ForEveryRequest(model.renderer.plain_ids("lamp " * 200))
    return serving(model, RecordingSearch(), choose=EndsWhereItMust(choose, model))


class EndsWhereItMust:
    """Follows a choice, but for the end token where nothing else may come."""

    def __init__(self, choose: ForEveryRequest, model: PixSearch) -> None:
        self._choose = choose
        self._end = model.config.ids.end

    def __call__(self, logits, rows):
        chosen = self._choose(logits, rows)
        allowed = logits.gather(1, chosen[:, None])[:, 0].isfinite()
        return chosen.where(allowed, self._end)


@pytest.mark.parametrize(
    ("messages", "options", "status", "words"),
    [
        ([], {}, 422, "messages"),
        ([{"role": "user", "content": " "}], {}, 422, "question is empty"),
        ([INSTRUCTION, {"role": "user", "content": " "}], {}, 422, "question is empty"),
        ([{"role": "assistant", "content": "hi"}], {}, 422, "take turns"),
        (asked(url="http://example.com/cup.png"), {}, 422, "data URL"),
        (asked(url="data:image/png;base64,AAAA"), {}, 422, "PNG"),
        ([*asked(), {"role": "assistant", "content": "a"}, *asked()], {}, 422, "one image"),
        (parts({"type": "image_url"}), {}, 422, "'image_url' has nothing"),
        (parts({"type": "text"}), {}, 422, "'text' has nothing"),
        (parts({"type": "image_url", "text": "a cup"}), {}, 422, "'image_url' has ['text']"),
        (asked(url=data_url(height=1100, width=1000)), {}, 413, "megapixels"),
        (asked(url=data_url(height=1, width=201)), {}, 413, "201x1 pixels"),
        (asked("why " * 600), {}, 413, "characters"),
        (asked(), {"temperature": 0.7}, 422, "temperature"),
        (asked(), {"n": 2}, 422, "n=2"),
        (asked(), {"max_tokens": 0}, 422, "max_tokens"),
        (asked(), {"stop": ["x"]}, 422, "stop"),
        (asked(), {"tools": [{"type": "function", "function": {"name": "f"}}]}, 422, "tools"),
        (asked(), {"functions": [{"name": "f"}]}, 422, "functions"),
        (asked(), {"function_call": {"name": "f"}}, 422, "function_call"),
        (asked(), {"tool_choice": "required"}, 422, "tool_choice"),
        (asked(), {"top_logprobs": 3}, 422, "top_logprobs"),
        (asked(), {"reasoning_effort": "high"}, 422, "reasoning_effort"),
        (asked(), {"verbosity": "low"}, 422, "verbosity"),
        (asked(), {"modalities": ["text", "audio"]}, 422, "modalities"),
        (asked(), {"audio": {"voice": "ash", "format": "mp3"}}, 422, "audio"),
        (asked(), {"web_search_options": {}}, 422, "web_search_options"),
        (asked(), {"model": "other"}, 422, "other"),
    ],
)
def test_bad_requests_are_refused_in_one_line(
    small: Serving, messages: list[dict], options: dict, status: int, words: str
) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        small.client().chat.completions.create(
            **{"model": "pixsearch", "messages": messages, **options}
        )
    assert refused.value.status_code == status
    message = refused.value.body["message"]
    assert words in message
    assert "\n" not in message
    assert small.online.num_unfinished == 0


@pytest.fixture(scope="module")
def small(shared_model: PixSearch) -> Iterator[Serving]:
    with serving(
        shared_model, RecordingSearch(), max_image_megapixels=1.0, max_characters=2000
    ) as started:
        yield started


def test_a_policy_that_needs_a_detector_is_not_served(tmp_path: Path) -> None:
    policy = PolicyOptions(name="pipeline", forced_first=ForcedFirst.region)
    with pytest.raises(ValueError, match="policy=pipeline: forced_first=region needs a detector"):
        serve(ServeOptions(checkpoint=str(tmp_path), policy=policy))


def test_a_server_that_strangers_reach_wants_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIXSEARCH_TOKEN", raising=False)
    server = ChatServerOptions(host="0.0.0.0")
    with pytest.raises(ValueError, match=r"server.host=0\.0\.0\.0 can be reached from other mach"):
        serve(ServeOptions(checkpoint=str(tmp_path), server=server))


def test_a_search_ends_before_its_request() -> None:
    options = ServeOptions()
    a_search = options.generation.search_timeout_seconds
    assert options.policy.max_searches * a_search < options.server.timeout_seconds
    with pytest.raises(ValueError, match="search_timeout_seconds=20 is not below server"):
        ServeOptions(
            server=ChatServerOptions(timeout_seconds=20.0),
            generation=GenerationOptions(search_timeout_seconds=20.0),
        )


def test_no_json_is_refused(small: Serving) -> None:
    reply = httpx.post(f"{small.url}/v1/chat/completions", content=b"{", timeout=PATIENCE)
    assert reply.status_code == 422
    assert "JSON" in reply.json()["error"]["message"]


def test_who_has_no_token_is_told_nothing(shared_model: PixSearch) -> None:
    with serving(shared_model, RecordingSearch(), token="secret") as started:
        with pytest.raises(openai.AuthenticationError):
            started.client().models.list()
        assert started.client(api_key="secret").models.list().data[0].id == "pixsearch"
        assert started.get("/metrics").status_code == 401
        assert started.get("/health").status_code == 200


class HeldSearch:
    """A retriever that answers when it is let go."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go = threading.Event()

    def __call__(self, queries: Sequence[Query]) -> list[list[Passage]]:
        self.asked.set()
        assert self.go.wait(PATIENCE)
        return [[] for _ in queries]


@pytest.fixture
def held(shared_model: PixSearch) -> Iterator[tuple[Serving, HeldSearch]]:
    """A server whose one slot waits for its retriever."""
    search = HeldSearch()
    choose = ForEveryRequest(ids_of(shared_model, *SEARCHING))
    one_slot = GenerationOptions(batch_size=1, waiting_slots=0)
    with serving(
        shared_model, search, policy=POLICY, generation=one_slot, choose=choose, queue_size=2
    ) as started:
        try:
            yield started, search
        finally:
            search.go.set()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_slot(
    held: tuple[Serving, HeldSearch], stream: bool
) -> None:
    server, search = held
    body = {"messages": asked(), "stream": stream}
    with httpx.Client(base_url=server.url) as client:
        thread = threading.Thread(target=ask_and_hang_up, args=(client, body))
        thread.start()
        assert search.asked.wait(PATIENCE)
        thread.join(PATIENCE)
    until(lambda: server.online.num_unfinished == 0)
    search.go.set()
    assert complete(server).choices[0].message.content == ANSWER
    assert 'pixsearch_requests_total{path="/v1/chat/completions",status="499"} 1.0' in (
        server.get("/metrics").text
    )


def ask_and_hang_up(client: httpx.Client, body: dict) -> None:
    with suppress(httpx.ReadTimeout):
        client.post("/v1/chat/completions", json=body, timeout=1.0)


def test_who_comes_too_many_is_told_to_wait(held: tuple[Serving, HeldSearch]) -> None:
    server, search = held
    threads = [threading.Thread(target=complete, args=(server,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: server.online.num_unfinished == 2)
    with pytest.raises(openai.RateLimitError, match="ask again later"):
        complete(server)
    assert 'pixsearch_engine_requests{state="waiting"} 1.0' in server.get("/metrics").text
    search.go.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert server.online.num_unfinished == 0


def test_a_request_that_takes_too_long_is_ended(shared_model: PixSearch) -> None:
    search = HeldSearch()
    choose = ForEveryRequest(ids_of(shared_model, *SEARCHING))
    with serving(shared_model, search, choose=choose, timeout_seconds=0.5) as started:
        with pytest.raises(openai.APIStatusError) as late:
            complete(started)
        assert late.value.status_code == 504
        until(lambda: started.online.num_unfinished == 0)
        search.go.set()


def test_an_answer_goes_on_without_searches_that_hang(shared_model: PixSearch) -> None:
    search = HeldSearch()
    choose = ForEveryRequest(ids_of(shared_model, *SEARCHING))
    policy = PolicyOptions(evidence_tokens=40, on_search_failure=OnSearchFailure.answer_without)
    quick = GenerationOptions(search_timeout_seconds=0.2)
    with serving(shared_model, search, policy=policy, generation=quick, choose=choose) as started:
        message = complete(started).choices[0].message
        search.go.set()
    assert message.content == ANSWER
    reasons = [one["failed"] for one in message.pixsearch["searches"]]
    assert reasons == ["no answer within generation.search_timeout_seconds=0.2"] * 2


def test_health_tells_that_the_engine_has_died(
    shared_model: PixSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(PixSearch, "language_states", run_out)
    with serving(shared_model, RecordingSearch()) as started:
        assert started.get("/health").status_code == 200
        with pytest.raises(openai.InternalServerError):
            complete(started)
        assert started.get("/health").status_code == 503


class FailingSearch:
    def __call__(self, queries: Sequence[Query]) -> list[list[Passage]]:
        raise SearchFailed("the index is away", is_temporary=True)


def test_a_search_that_fails_is_told(shared_model: PixSearch) -> None:
    choose = ForEveryRequest(ids_of(shared_model, *SEARCHING))
    with serving(shared_model, FailingSearch(), choose=choose) as started:
        with pytest.raises(openai.APIStatusError, match="the index is away") as failed:
            complete(started)
        assert failed.value.status_code == 502
        with pytest.raises(openai.APIError, match="the index is away"):
            list(complete(started, stream=True))
        assert started.get("/health").status_code == 200


def test_metrics_tell_what_the_engine_did(server: Serving) -> None:
    complete(server)
    text = server.get("/metrics").text
    assert 'pixsearch_engine_total{what="searches"}' in text
    assert 'pixsearch_requests_total{path="/v1/chat/completions",status="200"}' in text
