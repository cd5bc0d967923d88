"""A plan: what a training run would need. All of it is estimated, but for the weights' numbers."""

from dataclasses import dataclass

from pixsearch.config import PlanAssumptions, PlanOptions, Precision
from pixsearch.model.pixsearch import PixSearch
from pixsearch.model.trainable import set_trainable
from pixsearch.precision import check_frozen_in_bf16
from pixsearch.training.planning.activations import ActivationMemory, activation_memory
from pixsearch.training.planning.answering import AnsweringTime, answering_time
from pixsearch.training.planning.architecture import planned_model
from pixsearch.training.planning.flops import FlopCounts, count_flops
from pixsearch.training.planning.gpus import CARDS
from pixsearch.training.planning.memory import EngineMemory, engine_memory, weight_sizes
from pixsearch.training.planning.parameters import ParameterCounts, count_parameters
from pixsearch.training.planning.refusals import refused_engines
from pixsearch.training.planning.sharing import SampleTokens, images_per_sample, sample_tokens
from pixsearch.training.planning.storage import keep_as_trained


@dataclass(frozen=True, kw_only=True)
class Duration:
    """How long a stage takes, estimated.

    Attributes:
        images_per_sample: that are encoded, with those that fill the encoders' last call.
        tokens_per_step: over all GPUs.
        hours: of the whole stage.
        hours_otherwise: with the other value of `model.gradient_checkpointing`.
    """

    steps: int
    samples_per_step: int
    tokens_per_step: int
    images_per_sample: float
    hours: float
    hours_otherwise: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a plan says.

    Attributes:
        engines: those that training takes.
        refused: names of the others, with the option that they refuse.
        kept, checkpointed: activations without and with gradient checkpointing.
        sample: what `flops` is about.
    """

    name: str
    options: PlanOptions
    parameters: ParameterCounts
    engines: tuple[EngineMemory, ...]
    kept: ActivationMemory
    checkpointed: ActivationMemory
    refused: dict[str, str]
    sample: SampleTokens
    flops: FlopCounts
    duration: Duration
    answering: AnsweringTime

    @property
    def activations(self) -> ActivationMemory:
        """As configured."""
        is_on = self.options.model.gradient_checkpointing
        return self.checkpointed if is_on else self.kept

    @property
    def otherwise(self) -> ActivationMemory:
        """With the other value of `model.gradient_checkpointing`."""
        is_on = self.options.model.gradient_checkpointing
        return self.kept if is_on else self.checkpointed


def make_plan(options: PlanOptions, name: str) -> Plan:
    """Build the stage's model without weights, and estimate.

    1. See what training refuses.
    2. Build the model on the meta device, set what trains and how the rest is kept; count weights.
    3. Estimate memory: what engines keep, and what the longest micro-batch adds.
    4. Estimate arithmetic and time, for samples of the mean length; and that of answering.

    Raises:
        ValueError: sizes of the model are unknown, or the options do not fit each other.
    """
    stage, plan = options.stage, options.plan
    # 1. refusals
    check_frozen_in_bf16(options.model, "bf16" if _is_mixed(options) else "no")
    refused = refused_engines(options)
    # 2. model
    model = planned_model(options.model, plan.architectures)
    set_trainable(model, stage.trainable, stage.trainable_tokens)
    keep_as_trained(model, options.model)
    # 3. memory
    sizes = weight_sizes(model)
    engines = engine_memory(sizes, num_gpus=plan.num_gpus, accumulation=stage.accumulation)
    # 4. time
    image = model.family.layout((plan.image_height, plan.image_width))
    sample = sample_tokens(options, num_image_tokens=image.num_tokens)
    flops = count_flops(model, plan, sample=sample, has_teacher=stage.loss.teacher > 0)
    return Plan(
        name=name,
        options=options,
        parameters=count_parameters(model),
        engines=tuple(each for each in engines if each.engine not in refused),
        refused=refused,
        kept=_activations(model, options, checkpointing=False),
        checkpointed=_activations(model, options, checkpointing=True),
        sample=sample,
        flops=flops,
        duration=estimate_duration(flops, options, sample),
        answering=answering_time(model, plan),
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
        encoders_mixed=options.model.frozen_in_bf16,
        checkpointing=checkpointing,
    )


def _is_mixed(options: PlanOptions) -> bool:
    """Whether products are in bf16: every card of a plan has units for it."""
    return options.model.precision is not Precision.fp32


def estimate_duration(flops: FlopCounts, options: PlanOptions, sample: SampleTokens) -> Duration:
    """FLOP divided by what the cards reach; exchanges between GPUs are part of `utilization`.

    The encoders run outside of autocast, so at the rate of fp32, unless `model.frozen_in_bf16`
    (training/batches.py).
    """
    stage, plan = options.stage, options.plan
    images = images_per_sample(options)
    encoding = images * flops.encoders / _rate(plan, mixed=options.model.frozen_in_bf16)
    rate = _rate(plan, mixed=_is_mixed(options))
    per_gpu = stage.steps * stage.batch_size * stage.accumulation
    kept, checkpointed = (
        per_gpu * (encoding + trained / rate) / 3600
        for trained in (flops.trained, flops.trained + flops.recomputed)
    )
    samples = stage.batch_size * stage.accumulation * plan.num_gpus
    is_on = options.model.gradient_checkpointing
    return Duration(
        steps=stage.steps,
        samples_per_step=samples,
        tokens_per_step=samples * sample.whole,
        images_per_sample=images,
        hours=checkpointed if is_on else kept,
        hours_otherwise=kept if is_on else checkpointed,
    )


def _rate(plan: PlanAssumptions, *, mixed: bool) -> float:
    """FLOP/s that a card reaches."""
    card = CARDS[plan.gpu]
    return (card.bf16 if mixed else card.fp32) * plan.utilization
