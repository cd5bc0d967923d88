"""Which weights train. A part is named in a stage's YAML; what is not named stays as it is."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from pixsearch.config import TrainablePart, TrainableTokens
from pixsearch.model.pixsearch import PixSearch
from pixsearch.model.segmenters import segmenter_kind

logger = logging.getLogger(__name__)

LORA = "lora_"  # in the name of every weight that peft adds


@dataclass(frozen=True, kw_only=True)
class TrainableReport:
    """What trains, in numbers of weights.

    Attributes:
        parts: name of each part that trains -> its weights.
    """

    parts: dict[str, int]
    num_trainable: int
    num_frozen: int

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {count:,}" for name, count in self.parts.items())
        return f"{self.num_trainable:,} weights train ({parts}), {self.num_frozen:,} are frozen"


def _projector(model: PixSearch) -> Iterator[nn.Parameter]:
    projector = model.family.projector(model.backbone)
    yield from () if projector is None else projector.parameters()


def _language_model(model: PixSearch) -> Iterator[nn.Parameter]:
    """The layers and the final norm; embedding and head are `tokens`."""
    rows = {id(parameter) for parameter in _old_rows(model)}
    for name, parameter in model.backbone.model.language_model.named_parameters():
        if LORA not in name and id(parameter) not in rows:
            yield parameter


def _lora(model: PixSearch) -> Iterator[nn.Parameter]:
    for name, parameter in model.backbone.model.language_model.named_parameters():
        if LORA in name:
            yield parameter


def _old_rows(model: PixSearch) -> Iterator[nn.Parameter]:
    yield model.backbone.get_input_embeddings().weight
    if not model.config.backbone.tie_word_embeddings:
        yield model.backbone.lm_head.weight


def _tokens(model: PixSearch) -> Iterator[nn.Parameter]:
    yield from model.new_rows.parameters()
    yield from _old_rows(model)


def _grounding(model: PixSearch) -> Iterator[nn.Parameter]:
    """What makes prompts: the projection, and a tagger and mask feedback where there are."""
    feedback = model.grounding.feedback
    idle_ids = {id(one) for one in feedback.idle_parameters()} if feedback is not None else set()
    yield from (each for each in model.grounding.parameters() if id(each) not in idle_ids)


def _mask_decoder(model: PixSearch) -> Iterator[nn.Parameter]:
    """All that the one mask depends on: not the IoU head, nor the heads of SAM's other masks."""
    kind = segmenter_kind(model.config.segmenter)
    idle = kind.idle_parameters(model.segmenter, model.config.prompting)
    idle_ids = {id(parameter) for parameter in idle}
    decoder = model.segmenter.mask_decoder
    yield from (each for each in decoder.parameters() if id(each) not in idle_ids)


def _prompt_encoder(model: PixSearch) -> Iterator[nn.Parameter]:
    """The dense prompt "no mask", and what else is prompted: masks, padding points."""
    encoder = model.segmenter.prompt_encoder
    yield from encoder.no_mask_embed.parameters()
    if model.grounding.feedback is not None:
        yield from encoder.mask_embed.parameters()
    if model.config.padding_points:
        yield from encoder.not_a_point_embed.parameters()


PARTS: dict[TrainablePart, Callable[[PixSearch], Iterable[nn.Parameter]]] = {
    TrainablePart.projector: _projector,
    TrainablePart.language_model: _language_model,
    TrainablePart.lora: _lora,
    TrainablePart.tokens: _tokens,
    TrainablePart.grounding: _grounding,
    TrainablePart.mask_decoder: _mask_decoder,
    TrainablePart.prompt_encoder: _prompt_encoder,
}


def set_trainable(
    model: PixSearch,
    parts: Sequence[TrainablePart],
    tokens: TrainableTokens = TrainableTokens.new_rows,
) -> TrainableReport:
    """Freeze the model but for `parts`; the image encoders are always frozen.

    Args:
        tokens: which rows the part `tokens` means. Where the language model trains as a whole
            (`language_model` in `parts`), all rows do and nothing else can be asked for.

    Raises:
        ValueError: the model has no weights for a part, or `tokens` contradicts the parts.
    """
    _check_parts(model, parts)
    whole = TrainablePart.language_model in parts
    if whole and tokens is not TrainableTokens.all:
        raise ValueError(
            f"stage.trainable_tokens={tokens}: language_model trains as a whole, with all rows; "
            "set stage.trainable_tokens=all, or train lora instead"
        )
    if tokens is TrainableTokens.all and not whole and TrainablePart.tokens not in parts:
        raise ValueError(
            "stage.trainable_tokens=all: stage.trainable has neither tokens nor language_model; "
            "add one, or leave trainable_tokens at new_rows"
        )
    model.requires_grad_(False)
    for part in [*parts, TrainablePart.tokens] if whole else parts:
        for parameter in PARTS[part](model):
            parameter.requires_grad_(True)
    if tokens is TrainableTokens.new_rows:
        for parameter in _old_rows(model):
            parameter.requires_grad_(False)
    report = _report(model)
    logger.info("%s", report)
    return report


def parameter_groups(model: PixSearch) -> dict[TrainablePart, list[nn.Parameter]]:
    """The weights that train, by part; each weight is in one part. For learning rates by part."""
    groups = {
        name: [parameter for parameter in part(model) if parameter.requires_grad]
        for name, part in PARTS.items()
    }
    return {name: group for name, group in groups.items() if group}


def _check_parts(model: PixSearch, parts: Sequence[TrainablePart]) -> None:
    empty = [part for part in parts if not any(True for _ in PARTS[part](model))]
    if empty:
        raise ValueError(
            f"stage.trainable: this model has no weights for {', '.join(empty)}"
            + ("; set model.lora_rank" if TrainablePart.lora in empty else "")
        )


def _report(model: PixSearch) -> TrainableReport:
    parts = {
        name: sum(parameter.numel() for parameter in group)
        for name, group in parameter_groups(model).items()
    }
    total = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parts.values())
    return TrainableReport(parts=parts, num_trainable=trainable, num_frozen=total - trainable)
