"""The one training loop, for both stages."""

import logging
from pathlib import Path

from accelerate.utils import set_seed

from pixsearch.config import (
    GroundBy,
    ModelOptions,
    OnError,
    StageOptions,
    TrainablePart,
    TrainOptions,
)
from pixsearch.datasets.quarantine import QUARANTINE, Quarantine
from pixsearch.model.attention import check_attention, set_attention
from pixsearch.model.backbone import inject_lora, recompute_layers
from pixsearch.model.config import PixSearchConfig
from pixsearch.model.pixsearch import PixSearch
from pixsearch.model.quantization import check_quantization, keep_packing
from pixsearch.model.trainable import set_trainable
from pixsearch.precision import check_frozen_in_bf16, keep_frozen_in_bf16, mixed_precision
from pixsearch.training.checkpoint import Checkpoints, load_training_state, resolve
from pixsearch.training.data import open_training_data
from pixsearch.training.engines import engine_of
from pixsearch.training.processes import Processes, join_processes
from pixsearch.training.report import Report, due
from pixsearch.training.samples import Evaluate
from pixsearch.training.step import Trainer

logger = logging.getLogger(__name__)


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
    processes = join_processes()
    precision = mixed_precision(options.model.precision, processes.device)
    check_attention(options.model.attention, device=processes.device, precision=precision)
    check_frozen_in_bf16(options.model, precision)
    make_engine = engine_of(processes)
    check_quantization(options, is_split=make_engine.is_split)
    checkpoints = open_checkpoints(options, processes, precision)
    found = checkpoints.latest() if options.run.resume else None
    if found == checkpoints.final:
        logger.info("stage %s: %s is there already", options.stage.name, found)
        return found
    quarantine = open_quarantine(options, processes)
    data = open_training_data(options, quarantine)
    model = build_model(options, found)
    engine = make_engine(model, processes, options.stage.optim, mixed=precision == "bf16")
    trainer = Trainer(options, engine, data)
    if not options.run.resume:  # only now, when all that the run needs is there
        clear(checkpoints, processes)
    first_step = 0 if found is None else load_training_state(found, engine)
    with Report(options, checkpoints, engine, first_step=first_step) as report:
        for step in report.progress:
            report.stepped(step + 1, trainer.step(step))
            if data.held_out and due(step + 1, options.run.evaluate_every, options.stage.steps):
                report.evaluated(step + 1, trainer.held_out(data.held_out))
                report.sampled(step + 1, engine, data.held_out, evaluate)
            if due(step + 1, options.run.save_every) and step + 1 < options.stage.steps:
                report.save(step + 1, engine, position=(step + 1) * trainer.batches.global_batch)
        if quarantine is not None and processes.is_main:
            quarantine.report()
        return report.save_final(engine)


def open_quarantine(options: TrainOptions, processes: Processes) -> Quarantine | None:
    """Where the run lists broken examples, if it is to go on without them."""
    if options.data.on_error is not OnError.quarantine:
        return None
    quarantine = Quarantine(Path(options.run.output_dir) / QUARANTINE)
    if not options.run.resume:
        if processes.is_main:
            quarantine.clear()
        processes.wait()
    return quarantine


def open_checkpoints(options: TrainOptions, processes: Processes, precision: str) -> Checkpoints:
    """The run's checkpoints, those of a run that begins anew still among them.

    Raises:
        ValueError: it begins anew in the folder that it starts from.
    """
    output_dir, origin = Path(options.run.output_dir), options.stage.init_from
    if not options.run.resume and origin and output_dir.resolve() in Path(origin).resolve().parents:
        raise ValueError(
            f"run.resume=false would remove stage.init_from={origin}, which lies in "
            f"run.output_dir={output_dir}: choose another run.output_dir"
        )
    resolved = resolve(options, num_processes=processes.count, mixed_precision=precision)
    return Checkpoints(output_dir, resolved, keep=options.run.keep_checkpoints)


def clear(checkpoints: Checkpoints, processes: Processes) -> None:
    """Remove the checkpoints once every process has read what it needs."""
    processes.wait()
    if processes.is_main:
        checkpoints.clear()
    processes.wait()


def build_model(options: TrainOptions, found: Path | None) -> PixSearch:
    """The model as it stands before the next step, with the stage's parts set to train.

    Raises:
        ValueError: `stage.init_from` was composed with other model options.
    """
    set_seed(options.run.seed)
    origin = found or options.stage.init_from
    model = PixSearch.from_pretrained(origin) if origin else PixSearch.compose(options.model)
    if origin:
        add_adapters(model, options.model)
        check_composed_as(options.model, model.config, origin)
    logger.info("stage %s starts from %s", options.stage.name, origin or "pre-trained parts")
    own_memory(model)
    check_teacher(options.stage, model.config)
    set_trainable(model, options.stage.trainable, options.stage.trainable_tokens)
    set_attention(model, options.model.attention)
    keep_packing(model.backbone)
    if options.model.gradient_checkpointing:
        recompute_layers(model.backbone)
    if options.model.frozen_in_bf16:
        kept = keep_frozen_in_bf16(model)
        logger.info("%s frozen weights are kept in bf16", f"{kept:,}")
    return model.train()


def add_adapters(model: PixSearch, options: ModelOptions) -> None:
    """Give a checkpoint without adapters, as converted ones are, those that the options ask for.

    As drawn they change nothing.
    """
    if not options.lora_rank or model.config.lora_rank:
        return
    for name in ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets"):
        setattr(model.config, name, getattr(options, name))
    inject_lora(model.backbone, model.config)
    logger.info("the checkpoint has no adapters; it gets those of model.lora_*")


def check_teacher(stage: StageOptions, config: PixSearchConfig) -> None:
    """See that a stage that learns from a teacher has one.

    Raises:
        ValueError: it has none; the teacher is the language model without its adapters.
    """
    if not stage.loss.teacher:
        return
    wrong = [
        (config.ground_by != GroundBy.span, "model.ground_by=span"),
        (not config.lora_rank, "model.lora_rank above 0"),
        (TrainablePart.language_model in stage.trainable, "a stage that trains lora alone"),
    ]
    needed = [what for is_wrong, what in wrong if is_wrong]
    if needed:
        raise ValueError(
            f"stage.loss.teacher={stage.loss.teacher} needs {', '.join(needed)}: the teacher is "
            "the language model without its adapters; set that, or stage.loss.teacher=0"
        )


def check_composed_as(options: ModelOptions, config: PixSearchConfig, origin: str | Path) -> None:
    """See that a checkpoint has the architecture that the options ask for.

    Raises:
        ValueError: it has another; names the first option that differs, with both values.
    """
    for name in (
        "ground_by",
        "seg_state",
        "tagger_heads",
        "tagger_width",
        "tagger_dropout",
        "mask_feedback",
        "image_fit",
        "projector",
        "restate_question",
        "lora_rank",
        "lora_alpha",
        "lora_dropout",
        "lora_targets",
        "quantization",
    ):
        asked, found = getattr(options, name), getattr(config, name)
        if asked != found:
            raise ValueError(
                f"model.{name}={asked}, but {origin} was composed with {found}: "
                f"give model.{name}={found}, or begin from another checkpoint"
            )


def own_memory(model: PixSearch) -> None:
    """Copy every weight out of the memory-mapped file that it was read from.

    There it lies at an address that no kernel likes, another one in every file: the last bits of
    matrix products hang on it, and a resumed run would not repeat those of an uninterrupted one.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
