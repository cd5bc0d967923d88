"""Estimated FLOP of training on one sample."""

from dataclasses import dataclass, fields

from torch import nn

from pixsearch.config import PlanAssumptions
from pixsearch.model.pixsearch import PixSearch
from pixsearch.training.planning.counting import Passes, attention_flops, dense, matrix_weights
from pixsearch.training.planning.encoder_flops import segmenter_flops, tower_flops
from pixsearch.training.planning.grounding_flops import (
    feedback_flops,
    projection_flops,
    tagger_flops,
)
from pixsearch.training.planning.sharing import SampleTokens


@dataclass(frozen=True, kw_only=True)
class FlopCounts:
    """FLOP of one sample, by part; those of the frozen encoders are of one image."""

    language_layers: Passes
    head: Passes
    projector: Passes
    prompt_projection: Passes
    span_tagger: Passes
    mask_feedback: Passes
    mask_decoder: Passes
    teacher: Passes
    vision_tower: Passes
    segmenter_image_encoder: Passes

    @property
    def encoders(self) -> int:
        """Of the frozen image encoders."""
        return self.vision_tower.total + self.segmenter_image_encoder.total

    @property
    def trained(self) -> int:
        """Of all that runs inside of the training forward and backward."""
        return sum(getattr(self, each.name).total for each in fields(self)) - self.encoders

    @property
    def recomputed(self) -> int:
        """What gradient checkpointing adds: the layers' forward once more (Chen et al. 2016)."""
        return self.language_layers.forward


def count_flops(
    model: PixSearch, plan: PlanAssumptions, *, sample: SampleTokens, has_teacher: bool
) -> FlopCounts:
    """Count for a sample. The tagger has whole conversations, packed or not.

    Args:
        has_teacher: span states are compared with those of a second forward without LoRA.
    """
    size = (plan.image_height, plan.image_width)
    projector = model.family.projector(model.backbone) or nn.Identity()
    num_patches = round(model.family.layout(size).num_tokens / sample.together)
    language = language_flops(model, tokens=sample.processed, row=sample.row)
    return FlopCounts(
        language_layers=language,
        head=dense(model.backbone.lm_head, positions=plan.target_tokens),
        projector=dense(projector, positions=num_patches, has_gradient=False),
        prompt_projection=projection_flops(model, plan),
        span_tagger=tagger_flops(model, tokens=sample.whole),
        mask_feedback=feedback_flops(model, masks=plan.masks),
        mask_decoder=decoder_flops(model.segmenter, masks=plan.masks),
        teacher=Passes(forward=language.forward if has_teacher else 0),
        vision_tower=Passes(forward=tower_flops(model, size)),
        segmenter_image_encoder=Passes(forward=segmenter_flops(model.segmenter)),
    )


def language_flops(model: PixSearch, *, tokens: int, row: int) -> Passes:
    """The layers: 2 FLOP a weight and token forward, as many for the gradients of the states.

    As many again for the gradients of weights, where they train (Kaplan et al. 2020, section 2.1).
    The gradients reach the first layer, since rows of tokens train. An attention's backward has
    twice the products of its forward; what a kernel computes anew is not counted.

    Args:
        row: tokens of the row in which these stand, over all of which attention goes.
    """
    layers = model.backbone.model.language_model.layers
    text = model.config.backbone.get_text_config()
    attention = len(layers) * attention_flops(
        queries=tokens, keys=row, width=text.num_attention_heads * head_size(text)
    )
    return dense(layers, positions=tokens) + Passes(forward=attention, backward=2 * attention)


def head_size(text_config: object) -> int:
    """Width of one attention head."""
    explicit = getattr(text_config, "head_dim", None)
    return explicit or text_config.hidden_size // text_config.num_attention_heads


def decoder_flops(segmenter: nn.Module, *, masks: int) -> Passes:
    """SAM's mask decoder (Kirillov et al. 2023, appendix A), with one prompt for each mask."""
    decoder, prompts = segmenter.mask_decoder, segmenter.config.prompt_encoder_config
    pixels = (prompts.image_size // prompts.patch_size) ** 2
    heads = [decoder.output_hypernetworks_mlps, decoder.iou_prediction_head]
    tokens = 1 + 1 + decoder.num_mask_tokens  # the prompt, the quality, the masks
    if hasattr(decoder, "obj_score_token"):  # SAM 2
        heads, tokens = [*heads, decoder.pred_obj_score_head], tokens + 1
    forward = _two_way_flops(decoder.transformer, tokens=tokens, pixels=pixels)
    forward += 2 * pixels * matrix_weights(decoder.upscale_conv1)
    forward += 2 * 4 * pixels * matrix_weights(decoder.upscale_conv2)
    channels = decoder.upscale_conv2.weight.shape[1]
    forward += 2 * 16 * pixels * channels * decoder.num_mask_tokens
    forward += 2 * sum(map(matrix_weights, heads))
    trains = matrix_weights(decoder, trained_only=True) > 0
    return Passes(forward=masks * forward, backward=masks * forward * (1 + trains))


def _two_way_flops(transformer: nn.Module, *, tokens: int, pixels: int) -> int:
    flops = _cross_flops(transformer.final_attn_token_to_image, queries=tokens, keys=pixels)
    for layer in transformer.layers:
        flops += 2 * tokens * matrix_weights(layer.mlp)
        flops += _cross_flops(layer.self_attn, queries=tokens, keys=tokens)
        flops += _cross_flops(layer.cross_attn_token_to_image, queries=tokens, keys=pixels)
        flops += _cross_flops(layer.cross_attn_image_to_token, queries=pixels, keys=tokens)
    return flops


def _cross_flops(attention: nn.Module, *, queries: int, keys: int) -> int:
    of_keys = matrix_weights(attention.k_proj) + matrix_weights(attention.v_proj)
    of_queries = matrix_weights(attention) - of_keys
    width = attention.q_proj.weight.shape[0]
    products = attention_flops(queries=queries, keys=keys, width=width)
    return 2 * (of_keys * keys + of_queries * queries) + products
