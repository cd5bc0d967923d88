"""The tagger, what it may look at, the prompts of its spans, and masks that prompt the next."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from pixsearch.chat import ChatRenderer, Grounded, Text
from pixsearch.config import GroundBy, LossOptions
from pixsearch.model import PixSearch
from pixsearch.model.losses import tag_weight, tagging_loss, teacher_loss
from pixsearch.model.mask_feedback import EarlierMasks, MaskFeedback
from pixsearch.model.span_tagger import SpanTagger, seen_by_tagger, spans_of
from pixsearch.rendering import SpanTag
from tests.model.examples import CONVERSATIONS, batch, conversation, picture
from tests.tiny import tiny_model

SPAN = {"ground_by": GroundBy.span, "tagger_heads": 2, "tagger_width": 48}


def span_model(**options: Any) -> PixSearch:
    return tiny_model(**SPAN, **options)


@pytest.fixture(scope="module")
def model() -> PixSearch:
    return span_model()


def tagger(width: int = 16) -> SpanTagger:
    torch.manual_seed(0)
    made = SpanTagger(width=width, num_heads=4, inner_width=24, dropout=0.1)
    made.draw(state_size=1.0)
    return made.eval()


def test_the_tagger_is_a_transformer_encoder_layer_and_a_head() -> None:
    ours = tagger()
    layer = nn.TransformerEncoderLayer(16, 4, dim_feedforward=24, batch_first=True).eval()
    weights = {
        "self_attn.in_proj_weight": torch.cat([ours.query.weight, ours.key_value.weight]),
        "self_attn.in_proj_bias": torch.cat([ours.query.bias, ours.key_value.bias]),
        "self_attn.out_proj.weight": ours.output.weight,
        "self_attn.out_proj.bias": ours.output.bias,
    }
    pairs = {
        "linear1": ours.feed_forward[0],
        "linear2": ours.feed_forward[3],
        "norm1": ours.attention_norm,
        "norm2": ours.feed_forward_norm,
    }
    weights |= {
        f"{name}.{kind}": getattr(module, kind)
        for name, module in pairs.items()
        for kind in ("weight", "bias")
    }
    layer.load_state_dict(weights)
    states = torch.randn(2, 9, 16)
    torch.testing.assert_close(ours(states, states), ours.head(layer(states)), atol=1e-5, rtol=0)


@settings(max_examples=50, deadline=None)
@given(boundaries=st.lists(st.booleans(), min_size=1, max_size=12), cut=st.integers(1, 12))
def test_tags_of_a_prefix_equal_those_within_the_whole(boundaries: list[bool], cut: int) -> None:
    """A prefix ends where a search begins: `cut` is made a boundary."""
    length = len(boundaries) + 1
    cut = min(cut, length - 1)
    is_boundary = torch.tensor([[*boundaries, False]])
    is_boundary[0, cut] = True
    states = torch.randn(1, length, 16, generator=torch.Generator().manual_seed(1))
    every = torch.ones(1, length, dtype=torch.bool)
    ours = tagger()
    whole = ours(states, states, seen_by_tagger(is_boundary, every))
    prefix = states[:, :cut]
    alone = ours(prefix, prefix, seen_by_tagger(is_boundary[:, :cut], every[:, :cut]))
    torch.testing.assert_close(whole[:, :cut], alone, atol=1e-5, rtol=0)


def test_a_position_looks_at_all_before_the_next_boundary() -> None:
    is_boundary = torch.tensor([[False, False, True, False, True, False]])
    is_token = torch.tensor([[True, True, True, True, True, False]])
    seen = seen_by_tagger(is_boundary, is_token)[0].int().sum(dim=1)
    assert seen.tolist() == [2, 2, 4, 4, 5, 5]


def test_tags_do_not_hang_on_padding(model: PixSearch) -> None:
    inputs = batch(model)
    together = model(**inputs).tag_logits
    for row in range(4):
        alone = model(**batch(model, (row,))).tag_logits
        length = alone.shape[1]
        torch.testing.assert_close(together[row, :length], alone[0], atol=1e-4, rtol=0)


@settings(max_examples=40, deadline=None)
@given(
    phrases=st.lists(st.sampled_from(["the red cup", "a box", "Tarnwick", "the lamp, left"])),
    words=st.sampled_from(["", "and", "It is", "I don't know. There"]),
)
def test_spans_cover_the_words_of_their_phrases(phrases: list[str], words: str) -> None:
    renderer = _renderer()
    parts: list[Text | Grounded] = [Text(text=words)] if words else []
    for phrase in phrases:
        parts += [Grounded(phrase=phrase), Text(text=", then")]
    rendered = renderer.render(conversation(*parts or [Text(text="no")]), num_image_tokens=16)
    found = [renderer.tokenizer.decode(rendered.input_ids[a:b]).strip() for a, b in rendered.spans]
    assert found == phrases
    assert spans_of(rendered.span_tags) == rendered.spans
    assert renderer.ids.seg not in rendered.input_ids


def _renderer() -> ChatRenderer:
    return span_model().renderer


def test_a_prompt_is_the_mean_of_the_projected_states_of_its_words(model: PixSearch) -> None:
    inputs = batch(model, (0,))
    states = model.language_states(
        model.embed(inputs["input_ids"], inputs["image_features"], inputs["image_index"])
    )
    spans = spans_of(inputs["span_tags"][0].tolist())
    assert [end - start for start, end in spans] != [1, 1]
    prompts = torch.stack(
        [model.grounding.projection(states[0, start:end]).mean(dim=0) for start, end in spans]
    )
    index = inputs["image_index"].repeat(2)
    expected = model.decode_masks(prompts, inputs["image_features"].segmenter.index(index))
    torch.testing.assert_close(model(**inputs).mask_logits, expected, atol=1e-5, rtol=0)


def test_the_loss_of_tags_counts_rows_with_a_span_and_no_padding() -> None:
    tags = torch.tensor([[0, 1, 2, -100], [0, 0, 0, 0], [1, 0, -100, -100]])
    weights = [0.1, 1.0, 1.0]
    expected = torch.tensor([[0.1, 1, 1, 0], [0, 0, 0, 0], [1, 0.1, 0, 0]])
    torch.testing.assert_close(tag_weight(tags, weights), expected)
    logits = torch.randn(3, 4, 3)
    counted = torch.tensor([[True, True, True, False], [False] * 4, [True, True, False, False]])
    total, weight = tagging_loss(logits, tags, weights)
    reference = F.cross_entropy(logits[counted], tags[counted], torch.tensor(weights))
    torch.testing.assert_close(total / weight, reference)


def test_the_tagger_learns_under_any_batch() -> None:
    """With phrases, without any, without an image: the same weights get a gradient."""
    model = span_model(mask_feedback=True).train()
    idle = {id(one) for one in model.grounding.feedback.idle_parameters()}
    wanted = [one for one in model.grounding.parameters() if id(one) not in idle]
    for rows in ((0, 1, 2, 3), (3,), (2,), (1,)):
        model.zero_grad()
        model(**batch(model, rows)).losses.total(LossOptions()).backward()
        assert all(one.grad is not None for one in wanted), rows
    assert all(one.grad is None for one in model.grounding.feedback.idle_parameters())


def test_untagged_training_is_refused(model: PixSearch) -> None:
    inputs = batch(model)
    with pytest.raises(ValueError, match="span_tags are needed"):
        model(**{**inputs, "span_tags": None})


def test_feedback_is_plums_arithmetic() -> None:
    """Restated with loops, one phrase, one earlier mask and one place at a time."""
    model = span_model(mask_feedback=True)
    feedback, segmenter = model.grounding.feedback, model.segmenter
    encoder = segmenter.prompt_encoder.mask_embed
    side, channels = model.config.segmenter_frame.resolution, 32
    prompts, masks = torch.randn(2, 3, channels), torch.randn(2, 3, side, side)
    places = segmenter.get_image_wide_positional_embeddings()
    with torch.no_grad():
        ours = feedback(
            EarlierMasks(prompts=prompts, mask_logits=masks), segmenter=segmenter, places=places
        )
        for phrase in range(2):
            maps = []
            for prompt, mask in zip(prompts[phrase], masks[phrase], strict=True):
                one = encoder.layer_norm1(encoder.conv1(mask[None, None]))
                scale, shift = feedback.films[0](prompt).chunk(2)
                one = F.gelu(one * (scale + 1)[:, None, None] + shift[:, None, None])
                one = encoder.layer_norm2(encoder.conv2(one))
                scale, shift = feedback.films[1](prompt).chunk(2)
                one = F.gelu(one * (scale + 1)[:, None, None] + shift[:, None, None])
                maps.append((encoder.conv3(one) + places)[0].flatten(1).T)  # [places, channels]
            keys = torch.stack(maps, dim=1)
            for place, query in enumerate(feedback.queries):
                seen = keys[place][None]
                expected, _ = feedback.attention(query[None], seen, seen)
                found = ours[phrase].flatten(1)[:, place]
                torch.testing.assert_close(found, expected[0, 0], atol=1e-5, rtol=0)


def test_masks_in_turn_equal_masks_one_conversation_at_a_time() -> None:
    model = span_model(mask_feedback=True)
    features = model.encode_image([picture(0), picture(1)]).segmenter.index([0, 0, 1, 0, 1])
    prompts = torch.randn(5, 32)
    conversations = [7, 7, 2, 3, 3]
    with torch.no_grad():
        together = model.decode_conversations(conversations, prompts, features)
        for own in ([0, 1], [2], [3, 4]):
            alone = model.decode_conversations([0] * len(own), prompts[own], features.index(own))
            torch.testing.assert_close(together[own], alone, atol=1e-5, rtol=0)
        first = model.decode_masks(prompts, features)
    torch.testing.assert_close(together[[0, 2, 3]], first[[0, 2, 3]], atol=1e-5, rtol=0)
    assert not torch.allclose(together[[1, 4]], first[[1, 4]], rtol=0.1)


def test_a_gradient_goes_through_the_chain_of_masks() -> None:
    model = span_model(mask_feedback=True)
    features = model.encode_image([picture(0)]).segmenter.index([0, 0])
    prompts = torch.randn(2, 32, requires_grad=True)
    feedback = model.grounding.feedback.forward

    def by_masks_alone(earlier: EarlierMasks, **given: Any) -> Tensor:
        return feedback(replace(earlier, prompts=earlier.prompts.detach()), **given)

    model.grounding.feedback.forward = by_masks_alone
    model.decode_conversations([0, 0], prompts, features)[1].sum().backward()
    assert prompts.grad[0].abs().max() > 0


def test_the_end_of_an_answer_is_a_boundary_and_the_chain_begins_anew() -> None:
    """A second turn changes neither tags nor masks of the first, and its own masks begin anew."""
    model = span_model(mask_feedback=True)
    first = conversation(Grounded(phrase="the red cup"), Text(text="and"), Grounded(phrase="a box"))
    again = conversation(Grounded(phrase="the lamp"))
    both = replace(first, messages=(*first.messages, *again.messages))
    outputs = []
    for one in (first, both):
        rendered = model.renderer.render(one, num_image_tokens=16)
        ids, tags = torch.tensor([rendered.input_ids]), torch.tensor([rendered.span_tags])
        outputs.append(
            model(
                input_ids=ids,
                labels=ids,
                span_tags=tags,
                image_features=model.encode_image([picture(0)]),
                image_index=torch.tensor([0]),
            )
        )
    alone, together = outputs
    end = int((ids[0] == model.config.ids.end).nonzero()[0])
    torch.testing.assert_close(
        together.tag_logits[:, :end], alone.tag_logits[:, :end], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(together.mask_logits[:2], alone.mask_logits, atol=1e-6, rtol=0)
    features = model.encode_image([picture(0)])
    states = model.language_states(model.embed(ids, features, torch.tensor([0])))
    found = model.grounding.find(states, ids, tags)
    prompts = model.grounding(found.states, found.phrases, 3)
    anew = model.decode_masks(prompts[2:], features.segmenter)
    torch.testing.assert_close(together.mask_logits[2:], anew, atol=1e-6, rtol=1e-4)


def test_no_phrases_have_no_masks_in_turn() -> None:
    model = span_model(mask_feedback=True)
    features = model.encode_image([picture(0)]).segmenter
    assert model.decode_conversations([], torch.zeros(0, 32), features.index([])).shape[0] == 0


def test_a_phrase_has_words() -> None:
    with pytest.raises(ValueError, match="no words"):
        _renderer().render(conversation(Grounded(phrase=" ")), num_image_tokens=16)


def test_the_third_film_is_there_and_idle() -> None:
    feedback = MaskFeedback(channels=256, num_places=4096, downscaled=(4, 16, 256))
    assert sum(one.numel() for one in feedback.parameters()) == 1_453_608  # PLUM's own, measured
    assert sum(one.numel() for one in feedback.idle_parameters()) == 512 * 257


def test_the_tagger_has_the_size_of_plums() -> None:
    with torch.device("meta"):
        made = SpanTagger(width=5120, num_heads=8, inner_width=2048, dropout=0.1)
    head = sum(one.numel() for one in made.head.parameters())
    assert head == 26_234_883
    assert sum(one.numel() for one in made.parameters()) - head == 125_877_248


def test_the_teacher_is_the_model_without_lora() -> None:
    model = span_model(lora_rank=2)
    inputs = batch(model)
    options = LossOptions(teacher=0.1, teacher_sigma=0.5)
    with torch.no_grad():  # as drawn, adapters change nothing
        assert model(**inputs, loss_options=options).losses.teacher == 0
        bare = model.language_states(_embedded(model, inputs))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
        output = model(**inputs, loss_options=options)
        moved = model.language_states(_embedded(model, inputs))
    expected = torch.tensor(0.0)
    for row, tags in enumerate(inputs["span_tags"].tolist()):
        for start, end in spans_of(tags):
            pull = teacher_loss(moved[row, start:end], bare[row, start:end], sigma=0.5)
            expected += pull.mean()
    assert expected > 0
    torch.testing.assert_close(output.losses.teacher, expected, atol=1e-4, rtol=1e-4)


def test_the_pull_is_the_divergence_of_two_gaussians() -> None:
    states, teacher = torch.randn(2, 4, 8)
    normal = torch.distributions.Normal
    divergence = torch.distributions.kl_divergence(normal(states, 0.7), normal(teacher, 0.7))
    found = teacher_loss(states, teacher, sigma=0.7)
    torch.testing.assert_close(found, divergence.mean(dim=-1))


def test_feedback_without_tags_is_refused() -> None:
    with pytest.raises(ValueError, match="goes with"):
        tiny_model(mask_feedback=True)


def test_an_inside_alone_is_no_span() -> None:
    tags = [SpanTag.INSIDE, SpanTag.OUTSIDE, SpanTag.BEGIN, SpanTag.INSIDE]
    assert spans_of(tags) == [(2, 4)]


def _embedded(model: PixSearch, inputs: dict[str, Any]) -> Any:
    return model.embed(inputs["input_ids"], inputs["image_features"], inputs["image_index"])


def test_a_phrase_without_an_image_is_an_error(model: PixSearch) -> None:
    blind = replace(CONVERSATIONS[0], has_image=False)
    rendered = model.renderer.render(blind)
    ids = torch.tensor([rendered.input_ids])
    with pytest.raises(ValueError, match="row without an image has a phrase"):
        model(input_ids=ids, labels=ids, span_tags=torch.tensor([rendered.span_tags]))
