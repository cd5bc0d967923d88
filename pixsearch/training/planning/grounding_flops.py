"""FLOP of what makes prompts of a sample's states: projection, tagger, mask feedback."""

from torch import nn

from pixsearch.config import GroundBy, PlanAssumptions
from pixsearch.model.pixsearch import PixSearch
from pixsearch.training.planning.counting import Passes, attention_flops, dense


def projection_flops(model: PixSearch, plan: PlanAssumptions) -> Passes:
    """States that stand for phrases: one each, or one for each of their words."""
    is_tagged = GroundBy(model.config.ground_by) is GroundBy.span
    states = plan.masks * (plan.phrase_tokens if is_tagged else 1)
    return dense(model.grounding.projection, positions=states)


def tagger_flops(model: PixSearch, *, tokens: int) -> Passes:
    """Every token is tagged and looked at (Vaswani et al. 2017, table 1); the mask of searches is
    not subtracted, as causal ones are not.
    """
    if GroundBy(model.config.ground_by) is not GroundBy.span:
        return Passes(forward=0)
    products = attention_flops(queries=tokens, keys=tokens, width=model.config.width)
    every = dense(model.grounding.tagger, positions=tokens)
    return every + Passes(forward=products, backward=2 * products)


def feedback_flops(model: PixSearch, *, masks: int) -> Passes:
    """The dense prompts of one conversation's masks: each is made of all masks before it."""
    total = Passes(forward=0)
    if model.grounding.feedback is not None:
        for earlier in range(1, masks):
            total += _prompt_flops(model, earlier)
    return total


def _prompt_flops(model: PixSearch, earlier: int) -> Passes:
    """One dense prompt: downscaling and FiLM of each earlier mask, then attention at each place."""
    feedback, encoder = model.grounding.feedback, model.segmenter.prompt_encoder.mask_embed
    prompts = model.config.segmenter.prompt_encoder_config
    places = (prompts.image_size // prompts.patch_size) ** 2
    flops = dense(encoder.conv1, positions=4 * places * earlier)
    flops += dense(nn.ModuleList([encoder.conv2, encoder.conv3]), positions=places * earlier)
    flops += dense(feedback.films[:2], positions=earlier)
    flops += dense(feedback.attention.out_proj, positions=places)
    # torch holds the other three matrices of an attention as one parameter, which is no module
    joined = feedback.attention.in_proj_weight
    share = joined.numel() // 3
    inner = 2 * share * places * (1 + 2 * earlier)
    products = attention_flops(queries=places, keys=earlier, width=prompts.hidden_size)
    return flops + Passes(
        forward=inner + products,
        backward=inner * (1 + joined.requires_grad) + 2 * products,
    )
