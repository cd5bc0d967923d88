"""A plan: what a training run would need. All of it is estimated, but for the weights' numbers."""

from dataclasses import dataclass
from math import ceil

from pixsearch.config import PlanOptions, Precision
from pixsearch.model.pixsearch import PixSearch
from pixsearch.model.trainable import set_trainable
from pixsearch.training.planning.activations import ActivationMemory, activation_memory
from pixsearch.training.planning.architecture import planned_model
from pixsearch.training.planning.flops import FlopCounts, count_flops
from pixsearch.training.planning.gpus import CARDS
from pixsearch.training.planning.memory import EngineMemory, engine_memory, weight_sizes
from pixsearch.training.planning.parameters import ParameterCounts, count_parameters


@dataclass(frozen=True, kw_only=True)
class Duration:
    """How long a stage takes, estimated.

    Attributes:
        images_per_sample: that are encoded, with those that fill the encoders' last batch.
        tokens_per_step: over all GPUs.
        hours, hours_checkpointed: of the whole stage, without and with gradient checkpointing.
    """

    steps: int
    samples_per_step: int
    tokens_per_step: int
    images_per_sample: float
    hours: float
    hours_checkpointed: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a plan says.

    Attributes:
        kept, checkpointed: activations without and with gradient checkpointing.
        tokens: of the sample that `flops` is about.
    """

    name: str
    options: PlanOptions
    parameters: ParameterCounts
    engines: tuple[EngineMemory, ...]
    kept: ActivationMemory
    checkpointed: ActivationMemory
    tokens: int
    flops: FlopCounts
    duration: Duration


def make_plan(options: PlanOptions, name: str) -> Plan:
    """Build the stage's model without weights, and estimate.

    1. Build the model on the meta device and set what trains.
    2. Count its weights.
    3. Estimate memory: what engines keep, and what the longest micro-batch adds.
    4. Estimate arithmetic and time, for samples of the mean length.

    Raises:
        ValueError: sizes of the model are unknown, or the stage's parts do not fit it.
    """
    stage, plan = options.stage, options.plan
    # 1. model
    model = planned_model(options.model, plan.architectures)
    set_trainable(model, stage.trainable, stage.trainable_tokens)
    # 2. weights
    parameters = count_parameters(model)
    # 3. memory
    sizes = weight_sizes(model)
    engines = engine_memory(sizes, num_gpus=plan.num_gpus, accumulation=stage.accumulation)
    # 4. time
    tokens = plan.mean_tokens or stage.max_length
    flops = count_flops(model, plan, tokens=tokens, has_teacher=stage.loss.teacher > 0)
    return Plan(
        name=name,
        options=options,
        parameters=parameters,
        engines=tuple(engines),
        kept=_activations(model, options, checkpointing=False),
        checkpointed=_activations(model, options, checkpointing=True),
        tokens=tokens,
        flops=flops,
        duration=estimate_duration(flops, options, tokens=tokens),
    )


def _activations(
    model: PixSearch, options: PlanOptions, *, checkpointing: bool
) -> ActivationMemory:
    """Of a micro-batch of the longest conversations that the stage takes."""
    return activation_memory(
        model,
        options.plan,
        rows=options.stage.batch_size,
        tokens=options.stage.max_length,
        encode_batch=options.run.encode_batch,
        mixed=_is_mixed(options),
        checkpointing=checkpointing,
    )


def _is_mixed(options: PlanOptions) -> bool:
    """Whether products are in bf16: every card of a plan has units for it."""
    return options.model.precision is not Precision.fp32


def estimate_duration(flops: FlopCounts, options: PlanOptions, *, tokens: int) -> Duration:
    """FLOP divided by what the cards reach; exchanges between GPUs are part of `utilization`.

    The encoders run outside of autocast (training/batches.py), so at the rate of fp32, and in calls
    of exactly `run.encode_batch` images (training/features.py).
    """
    stage, run, plan = options.stage, options.run, options.plan
    card = CARDS[plan.gpu]
    images = ceil(stage.batch_size / run.encode_batch) * run.encode_batch / stage.batch_size
    rate = (card.bf16 if _is_mixed(options) else card.fp32) * plan.utilization
    encoding = images * flops.encoders / (card.fp32 * plan.utilization)
    per_gpu = stage.steps * stage.batch_size * stage.accumulation
    samples = stage.batch_size * stage.accumulation * plan.num_gpus
    return Duration(
        steps=stage.steps,
        samples_per_step=samples,
        tokens_per_step=samples * tokens,
        images_per_sample=images,
        hours=per_gpu * (encoding + flops.trained / rate) / 3600,
        hours_checkpointed=per_gpu * (encoding + (flops.trained + flops.recomputed) / rate) / 3600,
    )
