"""What the arithmetic says: FLOPs of the language model and the vision tower on each side.

With N weights, L layers of width d, processing positions a to b causally takes
2 N (b - a) + 2 L d (b² - a²).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from pixsearch.generation.bench.subject import ForcedTrajectory
from pixsearch.model.pixsearch import PixSearch


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Numbers that decide what a forward costs.

    Attributes:
        weights: of the language model's matrices, its head counted, its embedding not.
        tower: FLOPs of the vision tower for one image.
    """

    weights: int
    layers: int
    width: int
    tower: float

    def span(self, start: int, end: int) -> float:
        """FLOPs of the positions from `start` to `end`.

        >>> Costs(weights=10, layers=1, width=1, tower=0.0).span(1, 3)
        56.0
        """
        attention = 2.0 * self.layers * self.width * (end**2 - start**2)
        return 2.0 * self.weights * (end - start) + attention


def costs_of(model: PixSearch, trajectories: Sequence[ForcedTrajectory]) -> Costs:
    """Weights are counted, the tower is run once under torch's counter."""
    text = model.backbone.config.text_config
    language = model.backbone.model.language_model
    matrices = [one.numel() for name, one in language.named_parameters() if "embed" not in name]
    images = [each.image for each in trajectories if each.image is not None]
    return Costs(
        weights=sum(matrices) + model.backbone.lm_head.weight.numel(),
        layers=text.num_hidden_layers,
        width=text.hidden_size,
        tower=_tower_flops(model, images[0]) if images else 0.0,
    )


def kept_flops(costs: Costs, trajectories: Sequence[ForcedTrajectory]) -> float:
    """Each token once."""
    return sum(_tower(costs, each) + costs.span(0, each.num_tokens) for each in trajectories)


def restart_flops(costs: Costs, trajectories: Sequence[ForcedTrajectory]) -> float:
    """Before each segment all that stands before it, the image encoded anew."""
    return sum(
        _tower(costs, each) + costs.span(0, len(context) + len(segment))
        for each in trajectories
        for context, segment in zip(each.contexts(), each.segments, strict=True)
    )


def no_cache_flops(costs: Costs, trajectories: Sequence[ForcedTrajectory]) -> float:
    """Before each token all that stands before it, the image encoded anew."""
    return sum(
        _tower(costs, each) + costs.span(0, len(context) + step)
        for each in trajectories
        for context, segment in zip(each.contexts(), each.segments, strict=True)
        for step in range(len(segment))
    )


def tower_share(costs: Costs, trajectory: ForcedTrajectory) -> float:
    """Of the tower in the FLOPs of the prompt's prefill."""
    tower = _tower(costs, trajectory)
    return tower / (tower + costs.span(0, len(trajectory.prompt_ids)))


def barrier_wait(
    trajectories: Sequence[ForcedTrajectory], *, batch_size: int, delay: float
) -> float:
    """Seconds that a batch with a barrier waits for the retriever."""
    num_batches = -(-len(trajectories) // batch_size)
    return num_batches * trajectories[0].num_searches * delay


def _tower(costs: Costs, trajectory: ForcedTrajectory) -> float:
    return costs.tower if trajectory.image is not None else 0.0


def _tower_flops(model: PixSearch, image: object) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.family.encode(model.backbone, [image])
    return float(counter.get_total_flops())
