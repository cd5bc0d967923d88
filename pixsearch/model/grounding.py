"""How words become prompts of the mask decoder: by a token behind them, or by tags."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pixsearch.config import GroundBy, SegState
from pixsearch.model.config import PixSearchConfig
from pixsearch.model.mask_feedback import MaskFeedback
from pixsearch.model.span_tagger import SpanTagger, seen_by_tagger
from pixsearch.rendering import SpanTag


@dataclass(frozen=True, kw_only=True, eq=False)
class GroundedStates:
    """The states that stand for the grounded phrases of a batch, row by row.

    Attributes:
        rows: for each phrase its row of the batch.
        phrases: for each state its phrase.
        state_rows, columns: where each state stands.
    """

    rows: Int[Tensor, " num_masks"]
    states: Float[Tensor, "num_states width"]
    phrases: Int[Tensor, " num_states"]
    state_rows: Int[Tensor, " num_states"]
    columns: Int[Tensor, " num_states"]

    def turns(self, is_end: Bool[Tensor, "batch length"]) -> Int[Tensor, " num_masks"]:
        """A number for the answer that each phrase stands in, another in each answer of each row.

        Masks prompt those of the same answer: when it is generated, earlier answers are but text.

        Args:
            is_end: at the end of each answer.
        """
        first = self.phrases == torch.arange(len(self.rows), device=self.rows.device)[:, None]
        columns = self.columns[first.int().argmax(dim=1)]
        ends_before = is_end.cumsum(dim=1)[self.rows, columns]
        return self.rows * (is_end.shape[1] + 1) + ends_before


class Grounding(nn.Module):
    """What both groundings have in common: states are projected, each phrase takes their mean.

    Attributes:
        feedback: how earlier masks prompt the next; None where they do not.
    """

    feedback: MaskFeedback | None

    def __init__(self, *, width: int, channels: int, feedback: MaskFeedback | None = None) -> None:
        super().__init__()
        self.feedback = feedback
        self.projection = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, channels)
        )

    @torch.no_grad()
    def draw(self, *, state_size: float) -> None:
        """Draw the projection anew, so that prompts have unit variance, as SAM's points have.

        Args:
            state_size: root mean square of the states. Where it is far from 1, a layer drawn for 1
                gives prompts that hardly differ, and masks are not learned for hundreds of steps.
        """
        first, _, second = self.projection
        nn.init.normal_(first.weight, std=(2 / first.in_features) ** 0.5 / state_size)
        nn.init.normal_(second.weight, std=second.in_features**-0.5)
        for layer in (first, second):
            nn.init.zeros_(layer.bias)

    def find(
        self,
        states: Float[Tensor, "batch length width"],
        input_ids: Int[Tensor, "batch length"],
        span_tags: Int[Tensor, "batch length"] | None = None,
    ) -> GroundedStates:
        """The states of the phrases that are grounded in the batch.

        Args:
            span_tags: values of `SpanTag`, negative at padding; only tagged phrases need them.
        """
        raise NotImplementedError

    def tag(
        self,
        states: Float[Tensor, "batch length width"],
        input_ids: Int[Tensor, "batch length"],
        span_tags: Int[Tensor, "batch length"] | None,
    ) -> Float[Tensor, "batch length num_tags"] | None:
        """A tagger's scores at every position; None where there is no tagger."""
        return None

    def forward(
        self,
        states: Float[Tensor, "num_states width"],
        phrases: Int[Tensor, " num_states"],
        num_phrases: int,
    ) -> Float[Tensor, "num_phrases channels"]:
        """Prompts for the mask decoder.

        Args:
            phrases: for each state its phrase.
        """
        return mean_by_phrase(self.projection(states), phrases, num_phrases)


class SegGrounding(Grounding):
    """One token, <seg>, stands for the phrase before it (LISA).

    Args:
        seg_state: `predicting` takes the state from which <seg> is predicted, one position before
            it; `token` takes the state of <seg> itself.
    """

    def __init__(self, *, seg_id: int, seg_state: SegState, width: int, channels: int) -> None:
        super().__init__(width=width, channels=channels)
        self.seg_id = seg_id
        self.offset = 1 if seg_state is SegState.predicting else 0

    def find(
        self,
        states: Float[Tensor, "batch length width"],
        input_ids: Int[Tensor, "batch length"],
        span_tags: Int[Tensor, "batch length"] | None = None,
    ) -> GroundedStates:
        """The state of every <seg>."""
        rows, columns = (input_ids == self.seg_id).nonzero(as_tuple=True)
        columns = columns - self.offset
        return GroundedStates(
            rows=rows,
            states=states[rows, columns],
            phrases=torch.arange(len(rows), device=rows.device),
            state_rows=rows,
            columns=columns,
        )


class SpanGrounding(Grounding):
    """The words themselves stand for what they name; a tagger tells which words do (PLUM).

    Args:
        search_id, end_id: tokens behind which the tagger of what stands before does not look.
    """

    def __init__(
        self,
        *,
        tagger: SpanTagger,
        feedback: MaskFeedback | None,
        search_id: int,
        end_id: int,
        width: int,
        channels: int,
    ) -> None:
        super().__init__(width=width, channels=channels, feedback=feedback)
        self.tagger = tagger
        self.search_id = search_id
        self.end_id = end_id

    @torch.no_grad()
    def draw(self, *, state_size: float) -> None:
        """Draw projection, tagger and feedback anew."""
        super().draw(state_size=state_size)
        self.tagger.draw(state_size=state_size)
        if self.feedback is not None:
            self.feedback.draw()

    def find(
        self,
        states: Float[Tensor, "batch length width"],
        input_ids: Int[Tensor, "batch length"],
        span_tags: Int[Tensor, "batch length"] | None = None,
    ) -> GroundedStates:
        """The states of every tagged word, at its own position."""
        if span_tags is None:
            raise ValueError("model.ground_by=span: span_tags are needed, see Rendered.span_tags")
        rows, columns = (span_tags > SpanTag.OUTSIDE).nonzero(as_tuple=True)
        begins = span_tags[rows, columns] == SpanTag.BEGIN
        return GroundedStates(
            rows=rows[begins],
            states=states[rows, columns],
            phrases=begins.cumsum(0) - 1,
            state_rows=rows,
            columns=columns,
        )

    def tag(
        self,
        states: Float[Tensor, "batch length width"],
        input_ids: Int[Tensor, "batch length"],
        span_tags: Int[Tensor, "batch length"] | None,
    ) -> Float[Tensor, "batch length num_tags"] | None:
        """The tagger's scores at every position, each as before the search that follows it.

        Args:
            span_tags: negative at padding, which the tagger does not look at.
        """
        assert span_tags is not None
        is_boundary = (input_ids == self.search_id) | (input_ids == self.end_id)
        return self.tagger(states, states, seen_by_tagger(is_boundary, span_tags >= 0))


def build_grounding(config: PixSearchConfig) -> Grounding:
    """The grounding that a model's configuration asks for."""
    prompts = config.segmenter.prompt_encoder_config
    sizes = {"width": config.width, "channels": prompts.hidden_size}
    if GroundBy(config.ground_by) is GroundBy.seg:
        return SegGrounding(seg_id=config.ids.seg, seg_state=SegState(config.seg_state), **sizes)
    tagger = SpanTagger(
        width=config.width,
        num_heads=config.tagger_heads,
        inner_width=config.tagger_width,
        dropout=config.tagger_dropout,
    )
    return SpanGrounding(
        tagger=tagger,
        feedback=_feedback(config) if config.mask_feedback else None,
        search_id=config.ids.search,
        end_id=config.ids.end,
        **sizes,
    )


def _feedback(config: PixSearchConfig) -> MaskFeedback:
    prompts = config.segmenter.prompt_encoder_config
    side = prompts.image_size // prompts.patch_size
    inner = prompts.mask_input_channels
    return MaskFeedback(
        channels=prompts.hidden_size,
        num_places=side**2,
        downscaled=(inner // 4, inner, prompts.hidden_size),
    )


def mean_by_phrase(
    values: Float[Tensor, "num_states channels"],
    phrases: Int[Tensor, " num_states"],
    num_phrases: int,
) -> Float[Tensor, "num_phrases channels"]:
    """The mean of the values of each phrase; every phrase has one at least."""
    sums = values.new_zeros(num_phrases, values.shape[1]).index_add(0, phrases, values)
    return sums / torch.bincount(phrases, minlength=num_phrases)[:, None]
