"""The engine computes what a forward from scratch computes, once, whatever the batch."""

import time
from collections.abc import Sequence

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from pixsearch.chat import Conversation, Message, Role, Searched, Text
from pixsearch.config import GenerationOptions, PolicyOptions, QueryType, SegState
from pixsearch.generation import Engine, Request, Trajectory, masks
from pixsearch.generation.grammar import SHORTEST_SEARCH
from pixsearch.generation.row import Row
from pixsearch.images import SegmenterFrame
from pixsearch.model import PixSearch
from pixsearch.queries import Passage, Query
from pixsearch.rendering import TokenKind
from tests.families import ALL_FAMILIES, family_model
from tests.generation.scripted import (
    QUESTION,
    RecordingSearch,
    Scripted,
    ids_of,
    picture,
    run_script,
)
from tests.tiny import tiny_model

TOLERANCE = 1e-4  # fp32; the worst seen is 2e-6

# Searches of all types, at different steps, with long and short payloads; "text" has no image.
SCRIPTS = {
    "region": ["It is the red cup", ":seg", ":search", ":region", ":search_end", "The Velmora"],
    "whole": [":search", ":whole", ":search_end", "I don't know. There are three blue lamps."],
    "twice": [
        *("A box", ":seg", "left", ":search", "Where is Tarnwick", ":search_end", "In Osmeth"),
        *(":search", ":region", ":search_end", "Osmeth"),
    ],
    "text": ["How many", ":search", "country of Osmeth", ":search_end", "three"],
    "none": ["There are three blue lamps", ":seg"],
}
PASSAGES = ("The Velmora cup is made in Tarnwick.", "Tarnwick lies in the country of Osmeth.")


def requests() -> list[Request]:
    images = {name: None if name == "text" else picture(seed) for seed, name in enumerate(SCRIPTS)}
    return [Request(id=name, question=QUESTION, image=image) for name, image in images.items()]


def run_all(model: PixSearch, batch_size: int) -> tuple[Engine, Scripted, list[Trajectory]]:
    choose = Scripted({name: ids_of(model, *parts) for name, parts in SCRIPTS.items()})
    engine = Engine(
        model,
        RecordingSearch(*PASSAGES),
        PolicyOptions(evidence_tokens=60),
        GenerationOptions(batch_size=batch_size),
        choose=choose,
    )
    return engine, choose, engine.generate(requests())


@torch.no_grad()
def states_from_scratch(
    model: PixSearch, request: Request, trajectory: Trajectory
) -> Float[Tensor, "length hidden"]:
    """The states of a whole trajectory in one forward without a cache."""
    input_ids = torch.tensor([trajectory.rendered.input_ids])
    if request.image is None:
        embedded = model.embed(input_ids)
    else:
        features = model.encode_image([request.image])
        embedded = model.embed(input_ids, features, torch.tensor([0]))
    return model.language_states(embedded)[0]


@pytest.mark.parametrize(
    ("batch_size", "family"),
    [*((3, family) for family in ALL_FAMILIES), (1, "llava"), (5, "llava")],
)
def test_logits_equal_those_from_scratch(family: str, batch_size: int) -> None:
    model = family_model(family)
    _, choose, trajectories = run_all(model, batch_size)
    for request, trajectory in zip(requests(), trajectories, strict=True):
        states = states_from_scratch(model, request, trajectory)
        kinds = trajectory.rendered.token_kind
        positions = [i for i, kind in enumerate(kinds) if kind is TokenKind.GENERATED]
        for position in positions:
            expected = model.next_logits(states[position - 1]).detach()
            found = choose.logits[request.id, position]
            seen = found.isfinite()
            assert seen.any()
            assert torch.allclose(found[seen], expected[seen], atol=TOLERANCE), request.id


@pytest.mark.parametrize("seg_state", list(SegState))
def test_masks_equal_those_from_scratch(seg_state: SegState) -> None:
    model = tiny_model(seg_state=seg_state)
    _, _, trajectories = run_all(model, batch_size=3)
    for request, trajectory in zip(requests(), trajectories, strict=True):
        if request.image is None:
            assert not trajectory.grounded
            continue
        states = states_from_scratch(model, request, trajectory)
        offset = 1 if seg_state is SegState.predicting else 0
        positions = torch.tensor([one.position - offset for one in trajectory.grounded]).long()
        features = model.encode_image([request.image]).index([0] * len(positions))
        with torch.no_grad():
            prompts = model.grounding.projection(states[positions])
            logits = model.decode_masks(prompts, features.segmenter)
        resized = model.config.segmenter_frame.to_image(logits, height=20, width=30)
        for one, expected in zip(trajectory.grounded, resized, strict=True):
            certain = (expected.abs() > TOLERANCE).numpy()
            assert one.mask.shape == (20, 30)
            assert ((expected > 0).numpy() == one.mask)[certain].all()


def test_masks_asked_with_in_one_round_are_decoded_in_one_call(model: PixSearch) -> None:
    parts = ("A cup", ":seg", ":search", ":region", ":search_end", "Osmeth")
    engine = Engine(
        model,
        RecordingSearch(),
        PolicyOptions(),
        GenerationOptions(),
        choose=Scripted({name: ids_of(model, *parts) for name in ("one", "two")}),
    )
    engine.generate(
        [Request(id=name, question=QUESTION, image=picture()) for name in ("one", "two")]
    )
    assert (engine.stats.mask_calls, engine.stats.masks_decoded) == (1, 2)


def test_masks_are_enlarged_a_few_at_a_time(
    model: PixSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All phrases about a large image at once would take gigabytes."""
    parts = ("A cup", ":seg", "the box", ":seg", "a lamp", ":seg")
    together = run_script(model, *parts).grounded
    enlarge, enlarged = SegmenterFrame.to_image, []

    def keep(self: SegmenterFrame, mask_logits: Tensor, **size: int) -> Tensor:
        enlarged.append(len(mask_logits))
        return enlarge(self, mask_logits, **size)

    monkeypatch.setattr(SegmenterFrame, "to_image", keep)
    monkeypatch.setattr(masks, "PIXELS_AT_ONCE", 2 * model.config.segmenter_frame.size**2)
    few = run_script(model, *parts).grounded
    assert enlarged == [2, 1]
    for one, expected in zip(few, together, strict=True):
        assert (one.mask == expected.mask).all()


@pytest.mark.parametrize("seg_state", list(SegState))
def test_states_are_kept_only_where_a_mask_may_be_asked_for(seg_state: SegState) -> None:
    model = tiny_model(seg_state=seg_state)
    scripts = {"none": ["There are three"], "one": ["A cup", ":seg", "is red"]}
    scripted = Scripted({name: ids_of(model, *parts) for name, parts in scripts.items()})
    kept = {name: set() for name in scripts}

    def choose(logits: Tensor, rows: Sequence[Row]) -> Tensor:
        for row in rows:
            of_phrases = sum(0 if one.states is None else len(one.states) for one in row.grounded)
            kept[row.request.id].add((len(row.states), of_phrases))
        return scripted(logits, rows)

    engine = Engine(model, RecordingSearch(), PolicyOptions(), GenerationOptions(), choose=choose)
    engine.generate([Request(id=name, question=QUESTION, image=picture()) for name in scripts])
    assert kept == {"none": {(0, 0)}, "one": {(0, 0), (0, 1)}}


def test_each_token_is_processed_once(model: PixSearch) -> None:
    engine, _, trajectories = run_all(model, batch_size=2)
    processed = engine.stats.processed
    for kind in TokenKind:
        total = sum(trajectory.counts[kind] for trajectory in trajectories)
        unread = len(trajectories) if kind is TokenKind.GENERATED else 0  # the end tokens
        assert processed[kind] == total - unread
    assert engine.stats.searches == 5
    assert engine.stats.vision_encodes == 4
    assert engine.stats.masks_decoded == 3
    assert engine.stats.prefill_forwards < len(SCRIPTS)


def test_forwards_and_masks_are_counted_by_what_they_are_for(model: PixSearch) -> None:
    engine = Engine(
        model,
        RecordingSearch(*PASSAGES),
        PolicyOptions(evidence_tokens=60),
        GenerationOptions(),
        choose=Scripted({"twice": ids_of(model, *SCRIPTS["twice"])}),
    )
    (found,) = engine.generate([Request(id="twice", question=QUESTION, image=picture())])
    stats, counts, num_searches = engine.stats, found.counts, len(found.searches)
    in_pieces = 1 + num_searches  # the end is not processed; `</search>` goes with its evidence
    assert num_searches == 2
    assert stats.decode_steps == counts[TokenKind.GENERATED] - in_pieces > 0
    assert (stats.prefill_forwards, stats.evidence_forwards) == (1, num_searches)
    assert stats.forwards == stats.decode_steps + in_pieces
    assert stats.prefill_tokens == counts[TokenKind.PROMPT] + counts[TokenKind.IMAGE]
    assert stats.as_dict()["prefill_tokens"] == stats.prefill_tokens
    assert (stats.vision_encodes, stats.segmenter_encodes) == (1, 1)
    assert (stats.masks_decoded, stats.mask_calls) == (1, 1)


def test_masks_of_one_answer_are_decoded_in_one_call(model: PixSearch) -> None:
    engine = Engine(
        model,
        RecordingSearch(),
        PolicyOptions(),
        GenerationOptions(),
        choose=Scripted({"one": ids_of(model, "A cup", ":seg", "A box", ":seg")}),
    )
    engine.generate([Request(id="one", question=QUESTION, image=picture())])
    assert (engine.stats.masks_decoded, engine.stats.mask_calls) == (2, 1)


def test_ids_are_those_sampled_and_those_injected(model: PixSearch) -> None:
    _, _, trajectories = run_all(model, batch_size=5)
    evidence, _ = model.renderer.evidence_ids(
        RecordingSearch(*PASSAGES)([None])[0], question=QUESTION, max_tokens=60
    )
    for name, trajectory in zip(SCRIPTS, trajectories, strict=True):
        rendered = trajectory.rendered
        tokens = list(zip(rendered.input_ids, rendered.token_kind, strict=True))
        sampled = [token for token, kind in tokens if kind is TokenKind.GENERATED]
        injected = [token for token, kind in tokens if kind is TokenKind.EVIDENCE]
        assert sampled == ids_of(model, *SCRIPTS[name])
        assert injected == evidence * len(trajectory.searches)
        assert [k is TokenKind.GENERATED for k in rendered.token_kind] == rendered.supervised


def test_the_engine_restates_the_question_as_training_does() -> None:
    model = tiny_model(restate_question=True)
    _, _, trajectories = run_all(model, batch_size=5)
    found = RecordingSearch(*PASSAGES)([None])[0]
    searched = Searched(type=QueryType.text, text="Osmeth", passages=tuple(found))
    asked = Conversation.question(QUESTION, has_image=False).messages
    answered = Message(role=Role.ASSISTANT, parts=(searched,))
    lesson = model.renderer.render(Conversation(messages=(*asked, answered), has_image=False))
    trained = [
        token
        for token, kind in zip(lesson.input_ids, lesson.token_kind, strict=True)
        if kind is TokenKind.EVIDENCE
    ]
    restated = model.renderer.plain_ids(QUESTION)
    assert trained[-1 - len(restated) : -1] == restated
    for trajectory in trajectories:
        rendered = trajectory.rendered
        tokens = zip(rendered.input_ids, rendered.token_kind, strict=True)
        injected = [token for token, kind in tokens if kind is TokenKind.EVIDENCE]
        assert injected == trained * len(trajectory.searches)


def biased(model: PixSearch):
    """Greedy choice by a random model that likes to ground and to search."""
    bias = torch.zeros(model.next_logits(torch.zeros(1, 32)).shape[-1])
    ids = model.config.ids
    bias[[ids.search, ids.seg, ids.region, ids.search_end]] = torch.tensor([0.25, 0.2, 0.3, 0.3])
    return lambda logits, rows: (logits + bias).argmax(dim=-1)


def test_greedy_output_is_independent_of_neighbours(model: PixSearch) -> None:
    many = [
        Request(id=str(i), question=QUESTION[: 8 + i], image=picture(i) if i % 4 else None)
        for i in range(8)
    ]

    def answers(order: Sequence[Request], batch_size: int) -> dict[str, list[int]]:
        engine = Engine(
            model,
            RecordingSearch(*PASSAGES),
            PolicyOptions(max_searches=2, query_tokens=4, evidence_tokens=30),
            GenerationOptions(max_new_tokens=24, answer_tokens=6, batch_size=batch_size),
            choose=biased(model),
        )
        trajectories = engine.generate(order)
        return {one.request_id: one.rendered.input_ids for one in trajectories}

    alone = answers(many, 1)
    assert answers(many, 3) == alone
    assert answers(many[::-1], 8) == alone
    assert len({tuple(ids[-24:]) for ids in alone.values()}) > 4  # the rows do differ


def test_requests_of_one_image_share_its_features(model: PixSearch) -> None:
    same = [
        Request(id=str(i), question=QUESTION, image=picture(), image_id="a picture")
        for i in range(3)
    ]
    cache = {}
    for num_encodes in (1, 0):
        engine = Engine(
            model,
            RecordingSearch(),
            PolicyOptions(),
            GenerationOptions(batch_size=1),
            feature_cache=cache,
            choose=Scripted({one.id: ids_of(model, "A cup") for one in same}),
        )
        engine.generate(same)
        assert (engine.stats.vision_encodes, engine.stats.segmenter_encodes) == (num_encodes,) * 2
    assert list(cache) == ["a picture"]


def test_an_engine_that_is_used_again_sees_the_new_picture(model: PixSearch) -> None:
    """The id of a request says nothing of its image; equal pixels are encoded once all the same."""
    engine = Engine(
        model,
        RecordingSearch(),
        PolicyOptions(),
        GenerationOptions(),
        choose=Scripted({"one": ids_of(model, "A cup", ":seg")}),
    )
    answers = [
        engine.generate([Request(id="one", question=QUESTION, image=picture(seed))])
        for seed in (0, 1, 0)
    ]
    first, second, again = [answer[0].grounded[0].mask for answer in answers]
    other = Request(id="other", question=QUESTION, image=picture(1))
    alone = run_script(model, "A cup", ":seg", request=other).grounded[0].mask
    assert (second == alone).all()
    assert (first == again).all()
    assert (first != second).any()
    assert engine.stats.vision_encodes == 2


@pytest.mark.parametrize("part", ["next_logits", "decode_masks"])
def test_what_is_not_finite_is_no_answer(
    model: PixSearch, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    compute = getattr(PixSearch, part)
    monkeypatch.setattr(PixSearch, part, lambda *inputs: compute(*inputs) * torch.nan)
    with pytest.raises(FloatingPointError, match="not finite: load the model in another dtype"):
        run_script(model, "A cup", ":seg")


def test_limits_that_bar_every_search_are_refused(model: PixSearch) -> None:
    tight = GenerationOptions(max_new_tokens=32, answer_tokens=32)
    with pytest.raises(ValueError, match=r"max_new_tokens=32 leaves no room for a search"):
        run_script(model, "A cup", options=tight)
    assert run_script(model, "A cup", options=tight, policy=PolicyOptions(max_searches=0))


def test_trajectories_stand_in_the_order_of_requests(model: PixSearch) -> None:
    calls = []
    scripts = {str(i): ids_of(model, "cup " * (5 - i)) for i in range(5)}
    engine = Engine(
        model,
        RecordingSearch(),
        PolicyOptions(),
        GenerationOptions(batch_size=2),
        choose=Scripted(scripts),
    )
    found = engine.generate(
        [Request(id=name, question=QUESTION) for name in scripts],
        progress=lambda: calls.append(1),
    )
    assert [one.request_id for one in found] == list(scripts)
    assert len(calls) == 5
    assert engine.generate([]) == []


def test_the_model_is_left_in_its_mode(model: PixSearch) -> None:
    model.train()
    run_script(model, "A cup")
    assert model.training
    model.eval()


def test_history_precedes_the_question(model: PixSearch) -> None:
    history = (
        Message(role=Role.USER, parts=(Text(text="Where is the box?"),)),
        Message(role=Role.ASSISTANT, parts=(Text(text="It is left."),)),
    )
    request = Request(id="one", question=QUESTION, image=picture(), history=history)
    trajectory = run_script(model, "A cup", request=request)
    ids = trajectory.rendered.input_ids
    assert ids.count(model.config.ids.end) == 2
    assert trajectory.answer_text == "A cup"


def test_a_shared_id_is_an_error(model: PixSearch) -> None:
    engine = Engine(model, RecordingSearch(), PolicyOptions(), GenerationOptions())
    with pytest.raises(ValueError, match="share an id"):
        engine.generate([Request(id="one", question=QUESTION)] * 2)


def test_a_prompt_that_does_not_fit_is_an_error(model: PixSearch) -> None:
    engine = Engine(model, RecordingSearch(), PolicyOptions(), GenerationOptions(max_length=40))
    with pytest.raises(ValueError, match=r"request long: .*max_length=40"):
        engine.generate([Request(id="long", question=QUESTION * 4)])


@pytest.mark.parametrize("restate_question", [False, True])
def test_a_prompt_leaves_room_for_a_whole_search_and_an_answer(restate_question: bool) -> None:
    model = tiny_model(restate_question=restate_question)
    policy = PolicyOptions(evidence_tokens=20)
    request = Request(id="one", question=QUESTION)
    prompt = len(model.renderer.render_prompt(request.conversation))
    around = 2 + restate_question * len(model.renderer.plain_ids(QUESTION))
    needed = prompt + SHORTEST_SEARCH + 20 + around + 5

    def generate(max_length: int) -> list[Trajectory]:
        options = GenerationOptions(answer_tokens=5, max_new_tokens=50, max_length=max_length)
        return Engine(model, RecordingSearch(*PASSAGES), policy, options).generate([request])

    assert len(generate(needed)[0].rendered) <= needed
    with pytest.raises(
        ValueError, match=rf"take {needed} tokens, generation.max_length={needed - 1}"
    ):
        generate(needed - 1)


def test_a_searcher_that_loses_a_query_is_an_error(model: PixSearch) -> None:
    engine = Engine(
        model,
        lambda queries: [],
        PolicyOptions(),
        GenerationOptions(),
        choose=Scripted({"one": ids_of(model, ":search", "cup", ":search_end")}),
    )
    with pytest.raises(ValueError, match="0 results for 1 queries"):
        engine.generate([Request(id="one", question=QUESTION)])


class Slow(RecordingSearch):
    def __call__(self, queries: Sequence[Query]) -> list[list[Passage]]:
        time.sleep(0.02)
        return super().__call__(queries)


def test_a_trajectory_says_how_long_it_and_its_searches_took() -> None:
    start = time.monotonic()
    trajectory = run_script(tiny_model(), *SCRIPTS["twice"], search=Slow(*PASSAGES))
    whole = time.monotonic() - start
    times = [search.seconds for search in trajectory.searches]
    assert [each >= 0.02 for each in times] == [True, True]
    assert sum(times) <= trajectory.seconds <= whole
