"""Where a tagger tells what is grounded: the engine finds what a forward from scratch finds."""

import numpy as np
import pytest
import torch

from pixsearch.config import GenerationOptions, GroundBy, PolicyOptions, QueryType
from pixsearch.generation import Engine, FinishReason, Request, Trajectory
from pixsearch.generation.spans import words_of_answer
from pixsearch.model import PixSearch
from pixsearch.model.span_tagger import spans_of
from pixsearch.rendering import SpanTag
from tests.generation.scripted import (
    QUESTION,
    RecordingSearch,
    Scripted,
    ids_of,
    picture,
    run_script,
)
from tests.tiny import tiny_model

SCRIPTS = {
    "region": ["It is the red cup", ":search", ":region", ":search_end", "The Velmora"],
    "twice": [
        *("A box left", ":search", "Where is Tarnwick", ":search_end", "In Osmeth, the cup"),
        *(":search", ":region", ":search_end", "Osmeth"),
    ],
    "text": ["How many", ":search", "country of Osmeth", ":search_end", "three"],
    "none": ["There are three blue lamps"],
}


def span_model(*, outside: float, mask_feedback: bool = False) -> PixSearch:
    """A random tagger with a bias for or against words that are outside of phrases."""
    model = tiny_model(
        ground_by=GroundBy.span, tagger_heads=2, tagger_width=48, mask_feedback=mask_feedback
    )
    with torch.no_grad():
        model.grounding.tagger.head[-1].bias[SpanTag.OUTSIDE] = outside
        model.grounding.tagger.head[-1].bias[SpanTag.BEGIN] += 1.0
    return model


def run_all(model: PixSearch, batch_size: int) -> dict[str, tuple[Request, Trajectory]]:
    requests = [
        Request(id=name, question=QUESTION, image=None if name == "text" else picture(seed))
        for seed, name in enumerate(SCRIPTS)
    ]
    engine = Engine(
        model,
        RecordingSearch(),
        PolicyOptions(evidence_tokens=60),
        GenerationOptions(batch_size=batch_size),
        choose=Scripted({name: ids_of(model, *parts) for name, parts in SCRIPTS.items()}),
    )
    found = engine.generate(requests)
    return {request.id: (request, one) for request, one in zip(requests, found, strict=True)}


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("mask_feedback", [False, True])
def test_phrases_and_masks_equal_those_from_scratch(mask_feedback: bool, batch_size: int) -> None:
    model = span_model(outside=-0.3, mask_feedback=mask_feedback)
    num_phrases = 0
    for request, trajectory in run_all(model, batch_size).values():
        if request.image is None:
            assert not trajectory.grounded
            continue
        rendered = trajectory.rendered
        input_ids = torch.tensor([rendered.input_ids])
        features = model.encode_image([request.image])
        states = model.language_states(model.embed(input_ids, features, torch.tensor([0])))
        tags = model.grounding.tag(states, input_ids, torch.zeros_like(input_ids)).argmax(-1)[0]
        own = words_of_answer(rendered.input_ids, rendered.token_kind, model.config.ids)
        spans = spans_of((tags * torch.tensor(own)).tolist())
        ends = [position + 1 for position in (one.position for one in trajectory.grounded)]
        assert ends == [end for _, end in spans]
        for (start, end), one in zip(spans, trajectory.grounded, strict=True):
            words = model.tokenizer.decode(rendered.input_ids[start:end]).strip()
            assert one.phrase == words
        prompts = torch.stack(
            [model.grounding.projection(states[0, start:end]).mean(dim=0) for start, end in spans]
        )
        maps = features.segmenter.index([0] * len(spans))
        logits = model.decode_conversations([0] * len(spans), prompts, maps)
        resized = model.config.segmenter_frame.to_image(logits, height=20, width=30)
        for one, expected in zip(trajectory.grounded, resized, strict=True):
            certain = (expected.abs() > 1e-6).numpy()
            assert ((expected > 0).numpy() == one.mask)[certain].all()
        num_phrases += len(spans)
    assert num_phrases > 5


def test_a_region_search_asks_with_the_mask_of_the_last_tagged_phrase() -> None:
    model = span_model(outside=-5.0)
    search = RecordingSearch()
    trajectory = run_script(
        model, "A box", ":search", ":region", ":search_end", "The cup", search=search
    )
    (query,) = search.queries
    opened = trajectory.rendered.input_ids.index(model.config.ids.search)
    last = [one for one in trajectory.grounded if one.position < opened][-1]
    assert last is not trajectory.grounded[-1]
    assert query.type is QueryType.region
    assert np.array_equal(query.mask, last.mask)


def test_a_region_search_without_a_phrase_is_undone() -> None:
    """Regions alone are allowed; the tagger finds nothing, so that no payload would be left."""
    model = span_model(outside=1e4)
    ids = model.config.ids
    word = model.renderer.plain_ids("cup")[0]

    def choose(logits, rows):
        order = [ids.search, ids.end] if len(rows[0].rendered) % 3 else [word]
        return torch.tensor([next(one for one in order if row[one].isfinite()) for row in logits])

    policy = PolicyOptions(allow=[QueryType.region])
    engine = Engine(model, RecordingSearch(), policy, GenerationOptions(), choose=choose)
    (trajectory,) = engine.generate([Request(id="one", question=QUESTION, image=picture())])
    assert not trajectory.searches
    assert not trajectory.grounded
    assert trajectory.finish_reason is FinishReason.forced_answer


def test_a_search_that_is_undone_leaves_no_trace_in_the_tags() -> None:
    """Words after it belong to the same part: the tagger reads them together, as from scratch."""
    model = span_model(outside=1e4)
    ids = model.config.ids
    words = model.renderer.plain_ids("the red cup left of the box")

    def choose(logits, rows):
        (row,) = rows
        written = row.state.sampled
        if written == 3 and logits[0, ids.search].isfinite():
            return torch.tensor([ids.search])
        if written == 3:  # it was undone; from now on the tagger finds phrases
            model.grounding.tagger.head[-1].bias.data[SpanTag.OUTSIDE] = -5.0
        return torch.tensor([words[written] if written < len(words) else ids.end])

    engine = Engine(
        model,
        RecordingSearch(),
        PolicyOptions(allow=[QueryType.region]),
        GenerationOptions(),
        choose=choose,
    )
    (trajectory,) = engine.generate([Request(id="one", question=QUESTION, image=picture())])
    start = len(trajectory.rendered) - len(words) - 1
    assert any(one.position < start + 3 for one in trajectory.grounded)


def test_a_tagging_model_never_writes_seg() -> None:
    model = span_model(outside=0.0)
    seg = model.config.ids.seg

    def choose(logits, rows):
        assert logits[:, seg].isneginf().all()
        return logits.argmax(dim=-1)

    options = GenerationOptions(max_new_tokens=20, answer_tokens=8)
    engine = Engine(model, RecordingSearch(), PolicyOptions(), options, choose=choose)
    engine.generate([Request(id="one", question=QUESTION, image=picture())])


def test_a_tagging_model_keeps_the_states_of_whole_rows_about_images() -> None:
    """The tagger attends to all of a row, its prompt too; without an image it is never asked."""
    model = span_model(outside=0.0)
    names = {"none": picture(), "text": None}
    scripted = Scripted({name: ids_of(model, "There are three") for name in names})

    def choose(logits, rows):
        for row in rows:
            kept = sum(len(chunk) for chunk in row.states)
            assert kept == (row.num_processed if row.request.image is not None else 0)
        return scripted(logits, rows)

    engine = Engine(model, RecordingSearch(), PolicyOptions(), GenerationOptions(), choose=choose)
    engine.generate(
        [Request(id=name, question=QUESTION, image=image) for name, image in names.items()]
    )
