"""One optimiser step over a global batch, and the same losses over held-out examples."""

import json
import math
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate.utils import set_seed
from jaxtyping import Float
from torch import Tensor

from pixsearch.config import GroundBy, LossOptions, TrainOptions
from pixsearch.datasets.batch import IGNORED, Batch
from pixsearch.datasets.example import Example
from pixsearch.model.losses import LOSS_PARTS, LossCounts, Losses, loss_divisors, tag_weight
from pixsearch.training.batches import BatchSource
from pixsearch.training.data import TrainingData
from pixsearch.training.engines import Engine
from pixsearch.training.optim import lr_factor


@dataclass(frozen=True, kw_only=True)
class MeanLosses:
    """The weighted loss, and its parts as means: per target token, mask or tag."""

    loss: float
    language: float
    mask_bce: float
    mask_overlap: float
    span_tagging: float = 0.0
    teacher: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StepMetrics(MeanLosses):
    """One step, over the whole global batch."""

    learning_rate: float
    grad_norm: float  # before clipping
    num_targets: int
    num_masks: int
    tokens_per_second: float

    def summary(self) -> str:
        """The few figures that fit behind a progress bar."""
        tagged = f", tags {self.span_tagging:.3f}" if self.span_tagging else ""
        return (
            f"loss {self.loss:.3f} (language {self.language:.3f}, bce {self.mask_bce:.3f}, "
            f"overlap {self.mask_overlap:.3f}{tagged}), {self.tokens_per_second:.0f} tokens/s"
        )


class Trainer:
    """Engine and data of one process."""

    def __init__(self, options: TrainOptions, engine: Engine, data: TrainingData) -> None:
        self._options = options
        self.engine = engine
        self._processes = engine.processes
        self.batches = BatchSource(
            options,
            engine.model,
            data.mixture,
            rank=engine.processes.rank,
            num_processes=engine.processes.count,
        )

    def step(self, step: int) -> StepMetrics:
        """Take a step, counted from 0; what it does hangs on the weights and this number alone."""
        started = time.perf_counter()
        self._seed(step)
        batches = self.batches.of_step(step)
        counts, num_tokens = self._count(batches)
        sums = self._accumulate(batches, counts)
        optim = self._options.stage.optim
        factor = lr_factor(step, options=optim, num_steps=self._options.stage.steps)
        norm = self.engine.update(factor)
        self._refuse_if_not_finite(step, batches, sums, norm)
        return StepMetrics(
            **asdict(mean_losses(sums, counts, self._options.stage.loss)),
            learning_rate=optim.lr * factor,
            grad_norm=norm.item(),
            num_targets=counts.tokens,
            num_masks=counts.masks,
            tokens_per_second=num_tokens / (time.perf_counter() - started),
        )

    @torch.no_grad()
    def held_out(self, examples: Sequence[Example]) -> MeanLosses:
        """Losses over examples that are not trained on; each process takes its share."""
        batches = self.batches.of_examples(examples)
        self.engine.model.eval()
        sums = torch.zeros(len(LOSS_PARTS), device=self._processes.device)
        for batch in batches:
            sums += self._held_out_parts(batch)
        for _ in range(self._rounds(examples) - len(batches)):
            self._held_out_parts(self.batches.of_all(examples[:1])[0])  # others wait for this one
        self.engine.model.train()
        counts, _ = self._count(batches)
        return mean_losses(self._processes.total(sums), counts, self._options.stage.loss)

    def _held_out_parts(self, batch: Batch) -> Float[Tensor, " parts"]:
        return self.engine.forward(**self.batches.inputs(batch)).losses.sums

    def _rounds(self, examples: Sequence[Example]) -> int:
        """Forwards that every process must take; 0 where none needs the others for one."""
        if not self.engine.is_split:
            return 0
        most = math.ceil(len(examples) / self._processes.count)
        return math.ceil(most / self._options.stage.batch_size)

    def _seed(self, step: int) -> None:
        """Draw this step's random numbers (dropout) from its number and the rank.

        No generator's state need then be kept in checkpoints, nor do evaluations disturb it.
        """
        source = f"{self._options.run.seed}/{step}/{self._processes.rank}"
        set_seed(random.Random(source).getrandbits(32))

    def _count(self, batches: Sequence[Batch]) -> tuple[LossCounts, int]:
        """Counts over all micro-batches of all processes; also of all tokens that go through."""
        mine = [
            sum(int((batch.labels[:, 1:] != IGNORED).sum()) for batch in batches),
            sum(len(masks) for batch in batches for masks in batch.target_masks),
            sum(self._tag_weight(batch) for batch in batches),
            sum(int(batch.attention_mask.sum()) for batch in batches),
        ]
        counted = torch.tensor(mine, device=self._processes.device, dtype=torch.float64)
        targets, masks, weight, tokens = self._processes.total(counted).tolist()
        return LossCounts(tokens=int(targets), masks=int(masks), tag_weight=weight), int(tokens)

    def _tag_weight(self, batch: Batch) -> float:
        """Sum of the weights of a batch's tags; 0 for a model that does not tag."""
        if self.engine.model.renderer.ground_by is not GroundBy.span:
            return 0.0
        return float(tag_weight(batch.span_tags, self._options.stage.loss.tag_weights).sum())

    def _accumulate(self, batches: Sequence[Batch], counts: LossCounts) -> Float[Tensor, " parts"]:
        """Gradients of the global mean; returns the loss parts, summed over all processes."""

        def total(losses: Losses) -> Tensor:
            return losses.total(self._options.stage.loss, counts)

        sums = torch.zeros(len(LOSS_PARTS), device=self._processes.device)
        for index, batch in enumerate(batches):
            inputs, is_last = self.batches.inputs(batch), index == len(batches) - 1
            sums += self.engine.accumulate(inputs, total, is_last=is_last).sums
        return self._processes.total(sums)

    def _refuse_if_not_finite(
        self, step: int, batches: Sequence[Batch], sums: Float[Tensor, " parts"], norm: Tensor
    ) -> None:
        if torch.isfinite(sums).all() and torch.isfinite(norm):
            return
        ids = self._processes.gather([name for batch in batches for name in batch.ids])
        path = Path(self._options.run.output_dir) / f"not_finite_step-{step + 1:06d}.json"
        if self._processes.is_main:
            path.write_text(json.dumps(ids, indent=2))
        raise FloatingPointError(
            f"step {step + 1}: summed losses {sums.tolist()}, norm of the gradients {norm.item()}; "
            f"the ids of its examples are in {path}: look at them, or lower stage.optim.lr"
        )


def mean_losses(
    sums: Float[Tensor, " parts"], counts: LossCounts, options: LossOptions
) -> MeanLosses:
    """Divide the sums of a global batch by its counts."""
    means = {
        part: total / divisor
        for part, total, divisor in zip(
            LOSS_PARTS, sums.tolist(), loss_divisors(counts), strict=True
        )
    }
    loss = sum(getattr(options, part) * mean for part, mean in means.items())
    return MeanLosses(loss=loss, **means)
