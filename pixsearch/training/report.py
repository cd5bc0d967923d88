"""What a run writes while it goes on: metrics, samples, checkpoints and the progress bar."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from pixsearch.config import Attention, TrainOptions
from pixsearch.datasets.example import Example
from pixsearch.model.attention import attending
from pixsearch.training.checkpoint import Checkpoints
from pixsearch.training.engines import Engine
from pixsearch.training.metrics import MetricsFile, WandbLog
from pixsearch.training.samples import Evaluate, write_samples
from pixsearch.training.step import MeanLosses, StepMetrics

NUM_SAMPLES = 8  # sample trajectories per evaluation


def due(step: int, every: int, last: int | None = None) -> bool:
    """Whether something that is done every so many steps (0: never) is to be done now.

    >>> [step for step in range(1, 8) if due(step, every=3, last=7)]
    [3, 6, 7]
    """
    return every > 0 and (step % every == 0 or step == last)


class Report:
    """Only the main process writes. Steps count from 1 here: they are steps that were taken.

    A context: at its end, by an error too, files and bar are closed.

    Attributes:
        progress: the numbers of the steps that are left, from 0; shown as a bar.
    """

    def __init__(
        self,
        options: TrainOptions,
        checkpoints: Checkpoints,
        engine: Engine,
        *,
        first_step: int,
    ) -> None:
        self._options = options
        self._checkpoints = checkpoints
        self._processes = engine.processes
        self._is_main = engine.processes.is_main
        self.progress = tqdm(
            range(first_step, options.stage.steps),
            initial=first_step,
            total=options.stage.steps,
            desc=f"stage {options.stage.name}",
            disable=not self._is_main,
            dynamic_ncols=True,
        )
        if self._is_main:
            folder = checkpoints.output_dir
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "engine.json").write_text(json.dumps(engine.report(), indent=2))
            self._metrics = MetricsFile(folder / "metrics.jsonl", last_step=first_step)
            self._held_out = MetricsFile(folder / "held_out.jsonl", last_step=first_step)
            self._wandb = WandbLog(options.run, options.stage.name, checkpoints.resolved)

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.close()
        if self._is_main:
            for log in (self._metrics, self._held_out, self._wandb):
                log.close()

    def stepped(self, step: int, metrics: StepMetrics) -> None:
        """Record a step."""
        if not self._is_main:
            return
        self._metrics.write(step, asdict(metrics))
        self.progress.set_postfix_str(metrics.summary(), refresh=False)
        if due(step, self._options.run.log_every):
            self._wandb.write(step, asdict(metrics), prefix="train")

    def evaluated(self, step: int, losses: MeanLosses) -> None:
        """Record the held-out losses."""
        if self._is_main:
            self._held_out.write(step, asdict(losses))
            self._wandb.write(step, asdict(losses), prefix="held_out")

    def sampled(
        self, step: int, engine: Engine, held_out: Sequence[Example], evaluate: Evaluate | None
    ) -> None:
        """Let `evaluate` answer the first held-out examples, and write what it answered.

        Not where the model is split: one process cannot answer without all others.
        """
        if evaluate is None or engine.is_split or not self._is_main:
            return
        model = engine.model
        examples = held_out[:NUM_SAMPLES]
        folder = self._checkpoints.output_dir / "samples" / f"step-{step:06d}"
        model.eval()
        is_rounded = self._options.model.frozen_in_bf16  # other arithmetic cannot use such weights
        arithmetic = engine.arithmetic() if is_rounded else nullcontext()
        with attending(model, Attention.sdpa), arithmetic:
            write_samples(folder, examples, evaluate(model, examples))
        model.train()
        self._wandb.pictures(step, folder)

    def save(self, step: int, engine: Engine, *, position: int) -> None:
        """Write a checkpoint to go on from."""
        weights, state = engine.weights(), engine.optimizer_state()
        if self._is_main:
            self._checkpoints.save(step, engine.model, state, position, weights=weights)
        self._processes.wait()

    def save_final(self, engine: Engine) -> Path:
        """Write the final checkpoint."""
        weights = engine.weights()
        if self._is_main:
            steps = self._options.stage.steps
            self._checkpoints.save_final(steps, engine.model, weights=weights)
        self._processes.wait()
        return self._checkpoints.final
