"""One optimiser step over a global batch, and the same losses over held-out examples."""

import json
import random
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed
from jaxtyping import Float
from torch import Tensor

from pixsearch.config import LossOptions, TrainOptions
from pixsearch.datasets.batch import IGNORED, Batch
from pixsearch.datasets.example import Example
from pixsearch.model.losses import Losses
from pixsearch.model.pixsearch import PixSearch
from pixsearch.model.trainable import parameter_groups
from pixsearch.training.batches import BatchSource
from pixsearch.training.data import TrainingData
from pixsearch.training.optim import build_optimizer, lr_factor, set_learning_rate


@dataclass(frozen=True, kw_only=True)
class MeanLosses:
    """The weighted loss, and its parts as means per target token and per mask."""

    loss: float
    language: float
    mask_bce: float
    mask_overlap: float


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
        return (
            f"loss {self.loss:.3f} (language {self.language:.3f}, bce {self.mask_bce:.3f}, "
            f"overlap {self.mask_overlap:.3f}), {self.tokens_per_second:.0f} tokens/s"
        )


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What the sums of a global batch are divided by, and how many tokens went through."""

    targets: int
    masks: int
    tokens: int


class Trainer:
    """Model, optimiser and data of one process.

    Attributes:
        model: the bare model. Where there are several processes, `_engine` is the same wrapped, so
            that gradients are averaged; with one they are one.
    """

    def __init__(
        self, options: TrainOptions, model: PixSearch, data: TrainingData, accelerator: Accelerator
    ) -> None:
        self._options = options
        self._accelerator = accelerator
        self.model = model.to(accelerator.device)
        self.optimizer = build_optimizer(parameter_groups(model), options.stage.optim)
        self._engine = accelerator.prepare(model)
        self.batches = BatchSource(
            options,
            model,
            data.mixture,
            rank=accelerator.process_index,
            num_processes=accelerator.num_processes,
        )

    def step(self, step: int) -> StepMetrics:
        """Take a step, counted from 0; what it does hangs on the weights and this number alone."""
        started = time.perf_counter()
        self._seed(step)
        batches = self.batches.of_step(step)
        counts = self._count(batches)
        sums = self._accumulate(batches, counts)
        norm = self._clip_gradients()
        self._refuse_if_not_finite(step, batches, sums, norm)
        learning_rate = self._update(step)
        return StepMetrics(
            **asdict(mean_losses(sums, counts, self._options.stage.loss)),
            learning_rate=learning_rate,
            grad_norm=norm.item(),
            num_targets=counts.targets,
            num_masks=counts.masks,
            tokens_per_second=counts.tokens / (time.perf_counter() - started),
        )

    @torch.no_grad()
    def held_out(self, examples: Sequence[Example]) -> MeanLosses:
        """Losses over examples that are not trained on; each process takes its share."""
        batches = self.batches.of_examples(examples)
        self.model.eval()
        sums = torch.zeros(3, device=self._accelerator.device)
        for batch in batches:
            sums += _parts(self.model(**self.batches.inputs(batch)).losses)
        self.model.train()
        counts = self._count(batches)
        return mean_losses(self._over_processes(sums), counts, self._options.stage.loss)

    def _seed(self, step: int) -> None:
        """Draw this step's random numbers (dropout) from its number and the rank.

        No generator's state need then be kept in checkpoints, nor do evaluations disturb it.
        """
        source = f"{self._options.run.seed}/{step}/{self._accelerator.process_index}"
        set_seed(random.Random(source).getrandbits(32))

    def _count(self, batches: Sequence[Batch]) -> Counts:
        """Counts over all micro-batches of all processes."""
        mine = [
            sum(int((batch.labels[:, 1:] != IGNORED).sum()) for batch in batches),
            sum(len(masks) for batch in batches for masks in batch.target_masks),
            sum(int(batch.attention_mask.sum()) for batch in batches),
        ]
        counted = torch.tensor(mine, device=self._accelerator.device)
        targets, masks, tokens = self._over_processes(counted).tolist()
        return Counts(targets=targets, masks=masks, tokens=tokens)

    def _accumulate(self, batches: Sequence[Batch], counts: Counts) -> Float[Tensor, " parts"]:
        """Gradients of the global mean; returns the loss parts, summed over all processes.

        The processes' gradients are averaged, hence the factor: here they are parts of one sum,
        already divided by global counts.
        """
        sums = torch.zeros(3, device=self._accelerator.device)
        for index, batch in enumerate(batches):
            is_last = index == len(batches) - 1
            with nullcontext() if is_last else self._accelerator.no_sync(self._engine):
                losses = self._engine(**self.batches.inputs(batch)).losses
                total = losses.total(
                    self._options.stage.loss, num_tokens=counts.targets, num_masks=counts.masks
                )
                self._accelerator.backward(total * self._accelerator.num_processes)
            sums += _parts(losses)
        return self._over_processes(sums)

    def _clip_gradients(self) -> Float[Tensor, ""]:
        """Clip the norm of all gradients together; returns what it was before."""
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        return self._accelerator.clip_grad_norm_(trained, self._options.stage.optim.clip_norm)

    def _update(self, step: int) -> float:
        """Move the weights; returns the learning rate, before any part's `lr_scale`."""
        options = self._options.stage.optim
        factor = lr_factor(step, options=options, num_steps=self._options.stage.steps)
        set_learning_rate(self.optimizer, factor)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return options.lr * factor

    def _over_processes(self, values: Tensor) -> Tensor:
        """The sum of every process's values."""
        return self._accelerator.reduce(values, "sum")

    def _refuse_if_not_finite(
        self, step: int, batches: Sequence[Batch], sums: Float[Tensor, " parts"], norm: Tensor
    ) -> None:
        if torch.isfinite(sums).all() and torch.isfinite(norm):
            return
        ids = gather_object([name for batch in batches for name in batch.ids])
        path = Path(self._options.run.output_dir) / f"not_finite_step-{step + 1:06d}.json"
        if self._accelerator.is_main_process:
            path.write_text(json.dumps(ids, indent=2))
        raise FloatingPointError(
            f"step {step + 1}: summed losses {sums.tolist()}, norm of the gradients {norm.item()}; "
            f"the ids of its examples are in {path}: look at them, or lower stage.optim.lr"
        )


def mean_losses(sums: Float[Tensor, " parts"], counts: Counts, options: LossOptions) -> MeanLosses:
    """Divide the sums of a global batch by its counts."""
    language, mask_bce, mask_overlap = sums.tolist()
    language /= max(counts.targets, 1)
    mask_bce /= max(counts.masks, 1)
    mask_overlap /= max(counts.masks, 1)
    loss = (
        options.language * language
        + options.mask_bce * mask_bce
        + options.mask_overlap * mask_overlap
    )
    return MeanLosses(loss=loss, language=language, mask_bce=mask_bce, mask_overlap=mask_overlap)


def _parts(losses: Losses) -> Float[Tensor, " parts"]:
    """The summed parts as one tensor, cut off from the graph."""
    parts = (losses.language, losses.mask_bce, losses.mask_overlap)
    return torch.stack([part.detach().float() for part in parts])
