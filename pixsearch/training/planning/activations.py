"""Estimated memory of what a micro-batch leaves behind for its backward, in bytes.

Counted tensor by tensor, as Korthikanti et al. 2022 (Reducing Activation Recomputation in Large
Transformer Models, section 4) count them; which tensors autograd keeps here was read off with
saved_tensors_hooks, and tests/training/planning/ compares. Attention kernels keep no scores.
"""

from dataclasses import dataclass

import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from pixsearch.config import GroundBy, PlanAssumptions
from pixsearch.model.pixsearch import PixSearch
from pixsearch.training.planning.counting import MATRICES
from pixsearch.training.planning.flops import head_size

FP32, BF16, BOOL = 4, 2, 1  # bytes
DECODER_TENSORS = 96  # bytes a mask, pixel and channel: 54 (SAM) to 63 (SAM 2) in bf16, 89 in fp32
FEEDBACK_TENSORS = 30  # the same for a mask and one before it: 9 to 16 in bf16, 18 to 29 in fp32


@dataclass(frozen=True, kw_only=True)
class ActivationMemory:
    """Bytes of one GPU.

    Attributes:
        layers: states that the language model's layers keep.
        weight_copies: bf16 copies of weights in fp32, which backward needs and autocast has made;
            of frozen ones too, unless they are kept in bf16.
        head: logits of the supervised tokens and their probabilities.
        tagger: what a tagger keeps of every token.
        masks: what the mask decoder keeps, and what makes dense prompts of earlier masks.
        encoding: the largest tensors of the frozen encoders; gone when the forward begins.
    """

    layers: int
    weight_copies: int
    head: int
    tagger: int
    masks: int
    encoding: int

    @property
    def peak(self) -> int:
        training = self.layers + self.weight_copies + self.head + self.tagger + self.masks
        return max(training, self.encoding)


def activation_memory(
    model: PixSearch,
    plan: PlanAssumptions,
    *,
    rows: int,
    tokens: int,
    encode_batch: int,
    mixed: bool,
    encoders_mixed: bool,
    checkpointing: bool,
) -> ActivationMemory:
    """Estimate for a micro-batch.

    Args:
        rows: conversations, each of so many tokens.
        mixed: products in bf16, else in fp32.
        encoders_mixed: the same for the frozen encoders.
        checkpointing: layers keep their input alone and are computed again, one at a time.
    """
    layers = model.backbone.model.language_model.layers
    kept = layer_bytes(model, mixed=mixed)
    width = model.config.width
    one_token = FP32 * width * len(layers) + kept if checkpointing else kept * len(layers)
    copied = copied_weights(layers[0] if checkpointing else layers)
    copied += copied_weights(model.backbone.lm_head)
    image = encoding_bytes(model.segmenter.vision_encoder, mixed=encoders_mixed)
    return ActivationMemory(
        layers=rows * tokens * one_token,
        weight_copies=BF16 * copied if mixed else 0,
        head=rows * plan.target_tokens * head_bytes(model, mixed=mixed),
        tagger=rows * tokens * tagger_bytes(model, tokens=tokens, mixed=mixed),
        masks=rows * masks_bytes(model, masks=plan.masks),
        encoding=encode_batch * image,
    )


def copied_weights(module: nn.Module) -> int:
    """Weights of matrices that autocast casts: how many, not bytes."""
    weights = [each.weight for each in module.modules() if isinstance(each, MATRICES)]
    return sum(each.numel() for each in weights if each.dtype is torch.float32)


def layer_bytes(model: PixSearch, *, mixed: bool) -> int:
    """What one layer of the language model keeps of a token.

    Both norms keep their input in fp32. The attention kernel keeps queries, keys,
    values, output and a number a head; the gated MLP both its branches and the first one's
    activation. A matrix or norm that trains keeps its input as well, an adapter's dropout a mask.
    In fp32 matrices with the same input share it, which is not subtracted.
    """
    layer, text = model.backbone.model.language_model.layers[0], model.config.backbone
    text = text.get_text_config()
    size = BF16 if mixed else FP32
    heads, head = text.num_attention_heads, head_size(text)
    queries, keys = heads * head, text.num_key_value_heads * head
    norms = (2 + 2 * layer.input_layernorm.weight.requires_grad) * FP32 * text.hidden_size
    if hasattr(layer.self_attn, "q_norm"):  # Qwen3
        norms += FP32 * (queries + keys)
    attention = size * 2 * (queries + keys) + FP32 * heads
    gates = 3 * size * text.intermediate_size
    return norms + attention + gates + size * _trained_inputs(layer) + BOOL * _dropped(layer)


def head_bytes(model: PixSearch, *, mixed: bool) -> int:
    """Logits of a supervised token, the same in fp32, and the logarithms of probabilities."""
    return model.backbone.lm_head.out_features * ((BF16 if mixed else FP32) + 2 * FP32)


def _trained_inputs(layer: nn.Module) -> int:
    matrices = (each for each in layer.modules() if isinstance(each, nn.Linear))
    return sum(each.in_features for each in matrices if each.weight.requires_grad)


def _dropped(layer: nn.Module) -> int:
    """Width of all inputs that an adapter's dropout goes over."""
    adapters = (each for each in layer.modules() if isinstance(each, LoraLayer))
    return sum(
        each.in_features
        for each in adapters
        for dropout in each.lora_dropout.values()
        if isinstance(dropout, nn.Dropout)
    )


def tagger_bytes(model: PixSearch, *, tokens: int, mixed: bool) -> int:
    """What a tagger keeps of a token in a conversation of so many.

    Both norms keep their input in fp32. Every matrix trains and keeps its input: the states (twice
    where they are cast), the outputs of both norms, and what the two layers inside make. The
    attention kernel keeps queries, keys, values, output, a number a head and, of its mask, a row
    that it adds to the scores. Dropouts keep their masks, that inside the feed-forward layer also
    its output.
    """
    if GroundBy(model.config.ground_by) is not GroundBy.span:
        return 0
    width, inner = model.config.width, model.config.tagger_width
    size, casts = (BF16, 2) if mixed else (FP32, 1)
    norms = 2 * FP32 * width
    inputs = size * ((casts + 2 + 1) * width + inner)
    attention = size * 4 * width + FP32 * model.config.tagger_heads + size * tokens
    dropped = 0
    if model.config.tagger_dropout:
        dropped = BOOL * (2 * width + inner) + size * inner
    return norms + inputs + attention + dropped


def masks_bytes(model: PixSearch, *, masks: int) -> int:
    """Of one conversation: each mask, and with feedback each pair of a mask and one before it."""
    prompts = model.config.segmenter.prompt_encoder_config
    pixels = (prompts.image_size // prompts.patch_size) ** 2
    pairs = masks * (masks - 1) // 2 if model.config.mask_feedback else 0
    tensors = DECODER_TENSORS * masks + FEEDBACK_TENSORS * pairs
    return tensors * pixels * prompts.hidden_size


def encoding_bytes(encoder: nn.Module, *, mixed: bool) -> int:
    """Of one image; encoders run without a graph.

    SAM adds a table of positions to the scores of its global layers, whole for every head; SAM 2
    has none, its largest tensors are those inside the first stage's MLP, before and after the GELU.
    """
    config, size = encoder.config, BF16 if mixed else FP32
    if hasattr(encoder, "layers"):
        tokens = (config.image_size // config.patch_size) ** 2
        return size * config.num_attention_heads * tokens**2
    first = encoder.backbone.config
    tokens = (first.image_size[0] // first.patch_stride[0]) ** 2
    return 2 * size * tokens * int(first.mlp_ratio * first.hidden_size)
