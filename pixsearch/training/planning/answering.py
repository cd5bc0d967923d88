"""Estimated time of answering questions with the model, for what an evaluation takes."""

from dataclasses import dataclass

from pixsearch.config import PlanAssumptions
from pixsearch.model.pixsearch import PixSearch
from pixsearch.training.planning.counting import dense
from pixsearch.training.planning.encoder_flops import segmenter_flops, tower_flops
from pixsearch.training.planning.flops import decoder_flops, language_flops
from pixsearch.training.planning.gpus import CARDS

BF16 = 2  # bytes of a weight
ANSWERS = 1000


@dataclass(frozen=True, kw_only=True)
class AnsweringTime:
    """Hours that one GPU takes for a thousand answers.

    Attributes:
        searches: of an answer that searches.
    """

    searches: float
    hours_without_search: float
    hours_with_searches: float


def answering_time(model: PixSearch, plan: PlanAssumptions) -> AnsweringTime:
    """Estimate; retrieval, the judge and reading the images are not counted.

    What is read (prompt, image, evidence) costs arithmetic. What is written costs one reading of
    all weights of the language model from memory for each token of a batch of rows, as long as the
    batch is small (Pope et al. 2022, section 2); the kept states, which are read too, are left out.
    """
    searches = plan.searches
    read = {count: _reading_flops(model, plan, searches=count) for count in (0.0, searches)}
    weights = sum(each.numel() for each in model.backbone.model.language_model.parameters())
    card = CARDS[plan.gpu]
    a_token = weights * BF16 / (card.bandwidth * plan.utilization) / plan.answer_batch
    hours = {
        count: ANSWERS
        * (flops / (card.bf16 * plan.utilization) + plan.answer_tokens * a_token)
        / 3600
        for count, flops in read.items()
    }
    return AnsweringTime(
        searches=searches, hours_without_search=hours[0.0], hours_with_searches=hours[searches]
    )


def _reading_flops(model: PixSearch, plan: PlanAssumptions, *, searches: float) -> int:
    """Of one answer: its image, its prompt and its evidence, and a mask for each search."""
    size = (plan.image_height, plan.image_width)
    image = model.family.layout(size).num_tokens
    tokens = image + plan.question_tokens + round(searches * plan.evidence_tokens)
    projector = model.family.projector(model.backbone)
    projected = dense(projector, positions=image).forward if projector is not None else 0
    return (
        tower_flops(model, size)
        + segmenter_flops(model.segmenter)
        + projected
        + language_flops(model, tokens=tokens, row=tokens).forward
        + decoder_flops(model.segmenter, masks=round(searches)).forward
    )
