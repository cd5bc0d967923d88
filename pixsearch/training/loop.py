"""The one training loop, for both stages."""

import logging
from dataclasses import asdict
from pathlib import Path

from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from tqdm import tqdm

from pixsearch.config import Precision, TrainOptions
from pixsearch.model.pixsearch import PixSearch
from pixsearch.model.trainable import set_trainable
from pixsearch.training.checkpoint import Checkpoints, load_training_state, resolve
from pixsearch.training.data import TrainingData, open_training_data
from pixsearch.training.metrics import MetricsFile, WandbLog
from pixsearch.training.precision import mixed_precision
from pixsearch.training.samples import Evaluate, write_samples
from pixsearch.training.step import MeanLosses, StepMetrics, Trainer

logger = logging.getLogger(__name__)

NUM_SAMPLES = 8  # sample trajectories per evaluation


def fit(options: TrainOptions, *, evaluate: Evaluate | None = None) -> Path:
    """Train one stage; returns the folder of its final checkpoint.

    1. Find the newest checkpoint of this very run. If it is the final one, there is nothing to do.
    2. Build the model, from that checkpoint, the stage before, or its pre-trained parts.
    3. Take the steps that are left. Each draws its examples and its random numbers by its number
       alone, so that a run that was killed and resumed takes the same steps.
    4. Save the final checkpoint.

    Args:
        evaluate: writes sample trajectories for held-out examples, one for each in their order.

    Raises:
        ValueError: the options do not fit each other, the data or the checkpoint; one line.
        FloatingPointError: a loss or gradient is not finite; names the file with the batch's ids.
    """
    accelerator = build_accelerator(options.model.precision)
    checkpoints = open_checkpoints(options, accelerator)
    found = checkpoints.latest()
    if found == checkpoints.final:
        logger.info("stage %s: %s is there already", options.stage.name, found)
        return found
    data = open_training_data(options)
    model = build_model(options, found)
    trainer = Trainer(options, model, data, accelerator)
    first_step = 0 if found is None else load_training_state(found, trainer.optimizer)
    report = Report(options, checkpoints, accelerator, data, first_step, evaluate)
    for step in report.progress(first_step):
        report.stepped(step + 1, trainer.step(step))
        if data.held_out and due(step + 1, options.run.evaluate_every, options.stage.steps):
            report.evaluated(step + 1, trainer.held_out(data.held_out), trainer.model)
        if due(step + 1, options.run.save_every) and step + 1 < options.stage.steps:
            report.save(step + 1, trainer)
    return report.finish(trainer)


def due(step: int, every: int, last: int | None = None) -> bool:
    """Whether something that is done every so many steps (0: never) is to be done now.

    >>> [step for step in range(1, 8) if due(step, every=3, last=7)]
    [3, 6, 7]
    """
    return every > 0 and (step % every == 0 or step == last)


def build_accelerator(precision: Precision) -> Accelerator:
    """Accelerate's engine for this process: one process under plain python, else what launched it.

    Parts of the model may have nothing to do in a micro-batch (no image, no mask, no new token), on
    one rank or on all: hence `find_unused_parameters`.
    """
    device = PartialState().device
    return Accelerator(
        mixed_precision=mixed_precision(precision, device),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def open_checkpoints(options: TrainOptions, accelerator: Accelerator) -> Checkpoints:
    """The run's checkpoints; emptied if it begins anew."""
    checkpoints = Checkpoints(
        Path(options.run.output_dir),
        resolve(options, num_processes=accelerator.num_processes),
        keep=options.run.keep_checkpoints,
    )
    if accelerator.is_main_process and not options.run.resume:
        checkpoints.clear()
    accelerator.wait_for_everyone()
    return checkpoints


def build_model(options: TrainOptions, found: Path | None) -> PixSearch:
    """The model as it stands before the next step, with the stage's parts set to train."""
    set_seed(options.run.seed)
    origin = found or options.stage.init_from
    model = PixSearch.from_pretrained(origin) if origin else PixSearch.compose(options.model)
    logger.info("stage %s starts from %s", options.stage.name, origin or "pre-trained parts")
    set_trainable(model, options.stage.trainable, options.stage.trainable_tokens)
    return model.train()


class Report:
    """What a run writes: metrics, samples, checkpoints and the progress bar. Main process only."""

    def __init__(
        self,
        options: TrainOptions,
        checkpoints: Checkpoints,
        accelerator: Accelerator,
        data: TrainingData,
        first_step: int,
        evaluate: Evaluate | None,
    ) -> None:
        self._options = options
        self._checkpoints = checkpoints
        self._accelerator = accelerator
        self._samples = data.held_out[:NUM_SAMPLES]
        self._evaluate = evaluate
        self._is_main = accelerator.is_main_process
        if self._is_main:
            output_dir = checkpoints.output_dir
            output_dir.mkdir(parents=True, exist_ok=True)
            self._metrics = MetricsFile(output_dir / "metrics.jsonl", last_step=first_step)
            self._held_out = MetricsFile(output_dir / "held_out.jsonl", last_step=first_step)
            self._wandb = WandbLog(options.run, options.stage.name, checkpoints.resolved)

    def progress(self, first_step: int) -> "tqdm[int]":
        """The steps that are left, as a progress bar."""
        steps = range(first_step, self._options.stage.steps)
        self._bar = tqdm(
            steps,
            initial=first_step,
            total=self._options.stage.steps,
            desc=f"stage {self._options.stage.name}",
            disable=not self._is_main,
            dynamic_ncols=True,
        )
        return self._bar

    def stepped(self, step: int, metrics: StepMetrics) -> None:
        """Record a step; `step` counts from 1."""
        if not self._is_main:
            return
        values = asdict(metrics)
        self._metrics.write(step, values)
        self._bar.set_postfix_str(metrics.summary(), refresh=False)
        if due(step, self._options.run.log_every):
            self._wandb.write(step, values, prefix="train")

    def evaluated(self, step: int, losses: MeanLosses, model: PixSearch) -> None:
        """Record the held-out losses, and write sample trajectories."""
        if not self._is_main:
            return
        self._held_out.write(step, asdict(losses))
        self._wandb.write(step, asdict(losses), prefix="held_out")
        if self._evaluate is not None:
            folder = self._checkpoints.output_dir / "samples" / f"step-{step:06d}"
            model.eval()
            write_samples(folder, self._samples, self._evaluate(model, self._samples))
            model.train()
            self._wandb.pictures(step, folder)

    def save(self, step: int, trainer: Trainer) -> None:
        """Write a checkpoint to go on from."""
        if self._is_main:
            position = step * trainer.batches.global_batch
            self._checkpoints.save(step, trainer.model, trainer.optimizer, position)
        self._accelerator.wait_for_everyone()

    def finish(self, trainer: Trainer) -> Path:
        """Write the final checkpoint and close the files."""
        if self._is_main:
            self._checkpoints.save_final(self._options.stage.steps, trainer.model)
            for log in (self._metrics, self._held_out, self._wandb):
                log.close()
        self._accelerator.wait_for_everyone()
        return self._checkpoints.final
