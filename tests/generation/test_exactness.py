"""What an engine answers hangs on a request alone: not on the batch, the order or the retriever."""

import random
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pixsearch.config import GenerationOptions, GroundBy, PolicyOptions
from pixsearch.generation import Engine, Request, Trajectory
from pixsearch.generation.row import Row
from pixsearch.model import PixSearch
from pixsearch.queries import Passage, Query
from pixsearch.rendering import TokenKind
from tests.families import family_model
from tests.generation.scripted import gib_of, picture
from tests.tiny import SENTENCES, tiny_model

TOLERANCE = 1e-4  # of the likeliest token's logit, fp32
CERTAIN = 1e-5  # between the two best logits, below which rounding may decide
FAST, SOME, WHOLE = 5, 40, 200  # trajectories
WORDS = " ".join(SENTENCES).split()
LONG = 60.0  # seconds that no test takes
POLICY = PolicyOptions(max_searches=3, query_tokens=5, evidence_tokens=40)


def random_requests(number: int) -> list[Request]:
    draw = random.Random(0)
    return [
        Request(
            id=str(index),
            question=" ".join(draw.choices(WORDS, k=draw.randint(1, 12))),
            image=picture(index) if index % 4 else None,
        )
        for index in range(number)
    ]


class Library:
    """Finds passages that hang on the query alone, after a while that does not."""

    def __init__(self, *, longest_wait: float) -> None:
        self._longest_wait = longest_wait
        self._draw = random.Random(1)

    def __call__(self, queries: Sequence[Query]) -> list[list[Passage]]:
        time.sleep(self._longest_wait * self._draw.random())
        return [self._passages(query) for query in queries]

    def _passages(self, query: Query) -> list[Passage]:
        key = query.text or f"{query.type} {query.mask is not None and int(query.mask.sum())}"
        draw = random.Random(zlib.crc32(key.encode()))
        texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 12))) for _ in range(3)]
        return [Passage(id=str(i), title="", text=text) for i, text in enumerate(texts)]


@dataclass(kw_only=True)
class Greedy:
    """The likeliest token of logits to which noise is added that hangs on request and place alone.

    So a random model writes something else for each request, with searches and masks in it.

    Attributes:
        bias: a liking for searches and masks, in standard deviations of a logit.
        scale: that deviation.
        reference: what another run took and how likely it was; where that one or this one was not
            certain, this one follows it.
        flips: places where this one would have gone another way.
    """

    bias: Float[Tensor, " vocabulary"]
    scale: float
    reference: dict[tuple[str, int], tuple[int, float]] = field(default_factory=dict)
    uncertain: set[tuple[str, int]] = field(default_factory=set)
    taken: dict[tuple[str, int], tuple[int, float]] = field(default_factory=dict)
    flips: int = 0

    def __call__(
        self, logits: Float[Tensor, "num_rows vocabulary"], rows: Sequence[Row]
    ) -> Int[Tensor, " num_rows"]:
        places = [(row.request.id, len(row.rendered)) for row in rows]
        noise = torch.stack([self.noise(place) for place in places])
        best = (logits + self.scale * (self.bias + noise)).topk(2, dim=-1)
        gaps = (best.values[:, 0] - best.values[:, 1]).tolist()
        tokens = best.indices[:, 0].tolist()
        for index, place in enumerate(places):
            if gaps[index] < CERTAIN:
                self.uncertain.add(place)
            expected = self.reference.get(place, (tokens[index], 0.0))[0]
            if expected != tokens[index] and place in self.uncertain:
                self.flips += 1
                tokens[index] = expected
            self.taken[place] = tokens[index], best.values[index, 0].item()
        return torch.tensor(tokens)

    def noise(self, place: tuple[str, int]) -> Float[Tensor, " vocabulary"]:
        seeded = torch.Generator().manual_seed(zlib.crc32(repr(place).encode()))
        return torch.randn(len(self.bias), generator=seeded)


def make_model(name: str) -> PixSearch:
    if name == "span":
        return tiny_model(ground_by=GroundBy.span, tagger_heads=2, tagger_width=48)
    return family_model(name)


def choice(model: PixSearch, like: Greedy | None = None) -> Greedy:
    ids = model.config.ids
    width = model.get_input_embeddings().weight.shape[1]
    states = torch.randn(64, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model.next_logits(states)
    bias = torch.zeros(logits.shape[-1])
    liked = [ids.search, ids.seg, ids.region, ids.search_end, ids.end]
    bias[liked] = torch.tensor([2.5, 2.5, 3.0, 3.0, 1.5])
    chosen = Greedy(bias=bias, scale=logits.std().item())
    if like is not None:
        chosen.reference, chosen.uncertain = like.taken, set(like.uncertain)
    return chosen


def answer(
    model: PixSearch,
    requests: Sequence[Request],
    choose: Greedy,
    *,
    batch_size: int,
    longest_wait: float = 0.0,
    keep_slot_seconds: float = LONG,
    **options,
) -> tuple[Engine, dict[str, Trajectory]]:
    """The answers, once it is seen that no token went through the model that was not counted."""
    limits = {"max_new_tokens": 24, "answer_tokens": 6, "keep_slot_seconds": keep_slot_seconds}
    engine = Engine(
        model,
        Library(longest_wait=longest_wait),
        POLICY,
        GenerationOptions(batch_size=batch_size, **limits, **options),
        choose=choose,
    )
    with line_lengths(model) as lengths:
        found = {one.request_id: one for one in engine.generate(requests)}
    stats = engine.stats
    assert sum(lengths) == stats.processed_tokens + stats.recomputed_tokens
    assert len(lengths) == stats.forwards
    return engine, found


@contextmanager
def line_lengths(model: PixSearch) -> Iterator[list[int]]:
    """How many tokens pass the language model in each forward, as the model itself sees them."""
    lengths: list[int] = []

    def count(module: torch.nn.Module, inputs: tuple, named: dict[str, Tensor]) -> None:
        num_rows, length, _ = named["inputs_embeds"].shape
        lengths.append(num_rows * length)

    language_model = model.backbone.model.language_model
    hook = language_model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield lengths
    finally:
        hook.remove()


def assert_each_token_once(engine: Engine, trajectories: Sequence[Trajectory]) -> None:
    """Processed = prompt + sampled + evidence; the token that ends an answer is not processed."""
    processed = engine.stats.processed
    for kind in TokenKind:
        total = sum(trajectory.counts[kind] for trajectory in trajectories)
        unread = len(trajectories) if kind is TokenKind.GENERATED else 0
        assert processed[kind] == total - unread


def compare(name: str, number: int) -> int:
    """Answer requests alone, then in other company; the number of flips."""
    model = make_model(name)
    requests = random_requests(number)
    reference = choice(model)
    engine, alone = answer(model, requests, reference, batch_size=1, waiting_slots=0)
    assert_each_token_once(engine, list(alone.values()))
    assert engine.stats.recomputed_tokens == 0
    assert engine.stats.searches > number / 2  # there is something to compare
    assert len({tuple(one.rendered.input_ids[-6:]) for one in alone.values()}) > number / 2
    runs = [
        (requests, {"batch_size": 7, "search_threads": 3, "search_window_ms": 0.0}),
        (requests[::-1], {"batch_size": 4, "waiting_slots": 3, "longest_wait": 0.02}),
        (
            requests[1::2] + requests[::2],
            {"batch_size": 3, "waiting_slots": 6, "cache_gib": gib_of(model, 300)},
        ),
        (
            requests,
            {"batch_size": 2, "waiting_slots": 0, "keep_slot_seconds": 0.0, "longest_wait": 0.02},
        ),
    ]
    num_flips = 0
    for order, options in runs:
        choose = choice(model, reference)
        engine, found = answer(model, order, choose, **options)
        for request_id, expected in alone.items():
            assert found[request_id].rendered.input_ids == expected.rendered.input_ids
            assert found[request_id].rendered.token_kind == expected.rendered.token_kind
        assert_each_token_once(engine, list(found.values()))
        lose_slots = bool({"cache_gib", "keep_slot_seconds"} & options.keys())
        assert (engine.stats.evictions > 0) is lose_slots
        assert (engine.stats.recomputed_tokens > 0) is lose_slots
        num_flips += choose.flips
        for place, (_, logit) in reference.taken.items():
            assert abs(choose.taken[place][1] - logit) < TOLERANCE
    assert num_flips <= number / 10
    return num_flips


def test_tokens_hang_on_the_request_alone() -> None:
    compare("llava", FAST)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("llava", WHOLE),
        ("qwen2_5_vl", WHOLE),
        ("internvl", WHOLE),
        ("qwen3_vl", SOME),
        ("span", SOME),
    ],
)
def test_tokens_of_many_hang_on_the_request_alone(name: str, number: int) -> None:
    compare(name, number)


def test_a_gpus_way_of_attending_gives_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """All single tokens in one padded call, here on a CPU."""
    model = make_model("qwen2_5_vl")  # its heads share keys
    requests = random_requests(3)
    reference = choice(model)
    _, expected = answer(model, requests, reference, batch_size=3)
    monkeypatch.setattr("pixsearch.generation.engine.likes_one_call", lambda _: True)
    choose = choice(model, reference)
    _, found = answer(model, requests, choose, batch_size=5, longest_wait=0.01)
    for request_id, trajectory in expected.items():
        assert found[request_id].rendered.input_ids == trajectory.rendered.input_ids
    assert choose.flips <= 1


def test_what_was_processed_before_a_search_is_not_processed_again() -> None:
    model = make_model("llava")
    engine, found = answer(model, random_requests(4), choice(model), batch_size=3)
    before = 0
    for trajectory in found.values():
        kinds = trajectory.rendered.token_kind
        opened = [i for i in range(1, len(kinds)) if kinds[i] > kinds[i - 1] == TokenKind.GENERATED]
        before += sum(place - 1 for place in opened)  # `</search>` goes with the evidence
    assert engine.stats.reused_tokens == before > 0
    assert engine.stats.recomputed_tokens == engine.stats.evictions == 0
    assert engine.stats.waits == engine.stats.searches
