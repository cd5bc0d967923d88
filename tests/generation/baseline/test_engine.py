"""Plain models answer as transformers lets them, in our records."""

import copy
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixsearch.chat import Message, Role, Text
from pixsearch.config import Control, ForcedFirst, GenerationOptions, PolicyOptions, QueryType
from pixsearch.generation.baseline import (
    PlainEngine,
    PlainModel,
    describe,
    is_plain,
    refuse_policy,
)
from pixsearch.generation.baseline.prompt import WITH_PASSAGES
from pixsearch.generation.opening import check_options, open_model
from pixsearch.generation.records import FinishReason, Request, Trajectory
from pixsearch.queries import Passage, Query
from pixsearch.rendering import TokenKind
from tests.plain import PLAIN, plain_model, write_plain
from tests.tiny import tiny_model_folder

NO_SEARCH = PolicyOptions(name="no_search", allow=[], max_searches=0)
TEXT_QUERY = PolicyOptions(
    name="text_query", allow=[], max_searches=1, forced_first=ForcedFirst.text_query
)
WHOLE_IMAGE = replace(TEXT_QUERY, name="whole_image", forced_first=ForcedFirst.whole_image)
SHORT = GenerationOptions(max_new_tokens=6, batch_size=3)
PASSAGES = [
    Passage(id="a", title="A", text="The Velmora cup is\nmade in Tarnwick."),
    Passage(id="b", title="B", text="Tarnwick lies in Osmeth."),
]


def picture(number: int) -> Image.Image:
    values = np.random.default_rng(number).integers(0, 256, (30, 40 + number, 3), dtype=np.uint8)
    return Image.fromarray(values)


def requests(number: int = 5) -> list[Request]:
    """Questions of several lengths, every second one without an image."""
    return [
        Request(
            id=str(i), question="What is" + " it" * i + "?", image=None if i % 2 else picture(i)
        )
        for i in range(number)
    ]


class Recording:
    """A searcher that returns the passages and keeps the queries."""

    def __init__(self, passages: list[Passage] = PASSAGES) -> None:
        self.queries: list[Query] = []
        self._passages = passages

    def __call__(self, queries: list[Query]) -> list[list[Passage]]:
        self.queries += queries
        return [self._passages] * len(queries)


def answer(
    request: Request,
    *,
    policy: PolicyOptions = NO_SEARCH,
    options: GenerationOptions = SHORT,
    plain: PlainModel | None = None,
    search: Recording | None = None,
) -> Trajectory:
    engine = PlainEngine(plain or plain_model(), search or Recording(), policy, options)
    return engine.generate([request])[0]


def ids_of(trajectory: Trajectory, *kinds: TokenKind) -> list[int]:
    rendered = trajectory.rendered
    pairs = zip(rendered.input_ids, rendered.token_kind, strict=True)
    return [token for token, kind in pairs if kind in kinds]


def words(trajectory: Trajectory, *kinds: TokenKind) -> str:
    return plain_model().tokenizer.decode(ids_of(trajectory, *kinds))


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("request_", requests(2), ids=["image", "no image"])
def test_answers_equal_those_of_transformers(name: str, request_: Request) -> None:
    plain = plain_model(name)
    content = [{"type": "text", "text": request_.question}]
    if request_.image is not None:
        content.insert(0, {"type": "image", "image": request_.image})
    inputs = plain.processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    theirs = plain.model.generate(**inputs, do_sample=False, max_new_tokens=6)[0].tolist()
    ours = answer(request_, plain=plain)
    assert ours.rendered.input_ids == theirs
    assert ids_of(ours, TokenKind.GENERATED) == theirs[inputs["input_ids"].shape[1] :]
    assert (ours.counts[TokenKind.IMAGE] > 0) == (request_.image is not None)


@pytest.mark.parametrize("name", PLAIN)
def test_batch_size_does_not_change_answers(name: str) -> None:
    found = []
    for batch_size in (1, 5):
        options = replace(SHORT, batch_size=batch_size)
        engine = PlainEngine(plain_model(name), Recording(), TEXT_QUERY, options)
        found.append([one.rendered.input_ids for one in engine.generate(requests())])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", PLAIN)
def test_the_image_is_seen(name: str) -> None:
    plain = plain_model(name)
    seen = Request(id="1", question="What is it?", image=picture(0))
    dark = replace(seen, image=Image.new("RGB", (40, 30)))
    first, second = answer(seen, plain=plain), answer(dark, plain=plain)
    assert ids_of(first, TokenKind.PROMPT) == ids_of(second, TokenKind.PROMPT)
    assert first.rendered.input_ids != second.rendered.input_ids


def test_passages_stand_before_the_question_and_are_told_apart() -> None:
    request = Request(id="1", question="Who made it?", image=picture(0))
    trajectory = answer(request, policy=TEXT_QUERY)
    passages = "The Velmora cup is made in Tarnwick.\nTarnwick lies in Osmeth."
    assert words(trajectory, TokenKind.EVIDENCE).strip() == passages
    asked = WITH_PASSAGES.format(passages=passages, question="Who made it?")
    assert asked in words(trajectory, TokenKind.PROMPT, TokenKind.EVIDENCE)
    assert trajectory.grounded == ()
    generated = [kind is TokenKind.GENERATED for kind in trajectory.rendered.token_kind]
    assert trajectory.rendered.supervised == generated


def test_an_instruction_stands_behind_the_question() -> None:
    options = replace(SHORT, instruction="Answer in a few words.")
    trajectory = answer(requests()[0], options=options)
    assert "What is?\nAnswer in a few words. ASSISTANT:" in words(trajectory, TokenKind.PROMPT)


def test_searches_are_recorded_as_forced() -> None:
    search = Recording()
    by_text = answer(requests()[0], policy=TEXT_QUERY, search=search).searches
    by_image = answer(requests()[0], policy=WHOLE_IMAGE, search=search).searches
    assert [query.type for query in search.queries] == [QueryType.text, QueryType.image]
    assert [one.type for one in by_text + by_image] == [QueryType.text, QueryType.image]
    assert all(one.forced and one.num_injected == 2 for one in by_text + by_image)
    assert search.queries[0].text == by_text[0].text == requests()[0].question
    assert search.queries[1].question == requests()[0].question


class Slow(Recording):
    def __call__(self, queries: list[Query]) -> list[list[Passage]]:
        time.sleep(0.02)
        return super().__call__(queries)


def test_a_trajectory_says_how_long_it_and_its_search_took() -> None:
    trajectory = answer(requests()[0], policy=TEXT_QUERY, search=Slow())
    assert trajectory.seconds >= trajectory.searches[0].seconds >= 0.02


def test_the_whole_image_is_not_searched_where_there_is_none() -> None:
    search = Recording()
    trajectory = answer(requests()[1], policy=WHOLE_IMAGE, search=search)
    assert trajectory.searches == ()
    assert search.queries == []
    assert trajectory.counts[TokenKind.EVIDENCE] == 0
    nothing = answer(requests()[0], policy=TEXT_QUERY, search=Recording([]))
    assert nothing.searches[0].num_injected == 0
    assert nothing.rendered.input_ids == answer(requests()[0]).rendered.input_ids


def test_evidence_is_cut_by_whole_passages_and_never_empty() -> None:
    request, tokenizer = requests()[0], plain_model().tokenizer
    first = len(
        tokenizer("The Velmora cup is made in Tarnwick.", add_special_tokens=False).input_ids
    )
    one = answer(request, policy=replace(TEXT_QUERY, evidence_tokens=first))
    assert one.searches[0].num_injected == 1
    assert words(one, TokenKind.EVIDENCE).strip() == "The Velmora cup is made in Tarnwick."
    cut = answer(request, policy=replace(TEXT_QUERY, evidence_tokens=3))
    assert cut.searches[0].num_injected == 1
    assert 3 <= cut.counts[TokenKind.EVIDENCE] <= 4


@pytest.mark.parametrize("name", PLAIN)
def test_outside_text_yields_no_special_tokens(name: str) -> None:
    plain = plain_model(name)
    added = plain.tokenizer.get_added_vocab()
    hostile = "".join(added)

    def specials(question: str, text: str) -> list[int]:
        request = Request(
            id="1",
            question=question,
            image=picture(0),
            history=(
                Message(role=Role.USER, parts=(Text(text=question),)),
                Message(role=Role.ASSISTANT, parts=(Text(text=text),)),
            ),
        )
        search = Recording([Passage(id="a", title="", text=text)])
        found = answer(request, policy=TEXT_QUERY, plain=plain, search=search)
        prompt = ids_of(found, TokenKind.PROMPT, TokenKind.EVIDENCE, TokenKind.IMAGE)
        return [token for token in prompt if token in added.values()]

    assert specials(hostile, hostile) == specials("What?", "words")


def test_an_answer_ends_at_its_first_end_token() -> None:
    plain = plain_model()
    whole = ids_of(answer(requests()[0]), TokenKind.GENERATED)
    ending = PlainModel(model=copy.deepcopy(plain.model), processor=plain.processor)
    ending.model.generation_config.eos_token_id = [whole[2], plain.tokenizer.eos_token_id]
    engine = PlainEngine(ending, Recording(), NO_SEARCH, SHORT)
    first, *others = engine.generate(requests())
    assert ids_of(first, TokenKind.GENERATED) == whole[: whole.index(whole[2]) + 1]
    assert first.finish_reason is FinishReason.end
    assert answer(requests()[0]).finish_reason is FinishReason.length
    assert TokenKind.PAD not in {kind for one in others for kind in one.rendered.token_kind}


def test_limits_of_length() -> None:
    request = requests()[0]
    whole = answer(request)
    prompt = len(whole.rendered) - 6
    shorter = answer(request, options=replace(SHORT, max_length=prompt + 2))
    assert shorter.rendered.input_ids == whole.rendered.input_ids[: prompt + 2]
    match = rf"request 0: the prompt takes {prompt} tokens.*generation.max_length={prompt};"
    with pytest.raises(ValueError, match=match):
        answer(request, options=replace(SHORT, max_length=prompt))


def test_what_was_processed_is_counted() -> None:
    engine = PlainEngine(plain_model(), Recording(), TEXT_QUERY, replace(SHORT, batch_size=2))
    finished = engine.generate(requests())
    stats = engine.stats
    assert stats.processed_tokens == sum(len(one.rendered) - 1 for one in finished)
    assert (stats.vision_encodes, stats.searches, stats.search_calls) == (3, 5, 3)
    assert stats.prefill_forwards == 3


def test_bad_requests_are_named() -> None:
    with pytest.raises(ValueError, match="request 1: the question is empty"):
        answer(Request(id="1", question=" "))
    engine = PlainEngine(plain_model(), Recording(), NO_SEARCH, SHORT)
    with pytest.raises(ValueError, match="share an id"):
        engine.generate([requests()[0]] * 2)


def test_a_nan_is_not_taken_for_a_word() -> None:
    plain = plain_model()
    broken = PlainModel(model=copy.deepcopy(plain.model), processor=plain.processor)
    torch.nn.init.constant_(broken.model.lm_head.weight, torch.nan)
    with pytest.raises(FloatingPointError, match="logits of 0 are not finite"):
        answer(requests()[0], plain=broken)


REFUSED = [
    PolicyOptions(name="full"),
    PolicyOptions(name="only_region", allow=[QueryType.region]),
    PolicyOptions(name="budget_1", max_searches=1),
    PolicyOptions(name="gold_region", control=Control.gold_region),
    replace(NO_SEARCH, name="shuffled", control=Control.shuffled_passages),
    replace(TEXT_QUERY, name="more", allow=[QueryType.text], max_searches=2),
]


@pytest.mark.parametrize("policy", REFUSED, ids=lambda policy: policy.name)
def test_policies_by_which_the_model_decides_are_refused(
    policy: PolicyOptions, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mllama"}')  # nothing else is read
    possible = "policy=no_search, text_query, whole_image or pipeline"
    match = f"^policy={policy.name}: .* 'mllama' model.* {possible}$"
    with pytest.raises(ValueError, match=match):
        check_options(tmp_path, policy, SHORT)


def test_policies_that_leave_nothing_to_the_model_are_not() -> None:
    for policy in (NO_SEARCH, TEXT_QUERY, WHOLE_IMAGE, PolicyOptions(max_searches=0)):
        refuse_policy(policy, "mllama")


def test_config_json_tells_the_kind(tmp_path: Path) -> None:
    own = tiny_model_folder(tmp_path / "own")
    assert not is_plain(own)
    check_options(own, PolicyOptions(), SHORT)
    with pytest.raises(ValueError, match=r"generation\.instruction: the checkpoint is no plain"):
        check_options(own, PolicyOptions(), replace(SHORT, instruction="Be brief."))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert not is_plain(tmp_path)
    with pytest.raises(ValueError, match="is of a 'bert' model"):
        open_model(tmp_path)
    assert not is_plain(tmp_path / "nothing" / "is" / "here")


def test_what_cannot_be_asked_is_named(tmp_path: Path) -> None:
    folder = write_plain(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="model or processor cannot be loaded") as caught:
        open_model(folder)
    assert "\n" not in str(caught.value)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match=r"it has no chat template; choose a decoder"):
        open_model(folder)
    assert describe(folder)["model_type"] == "llava"
