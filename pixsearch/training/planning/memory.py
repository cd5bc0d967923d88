"""Estimated memory of one GPU under each engine, in bytes.

What lies in which dtype follows pixsearch/training/engines/: composing.py loads every weight in
fp32 and no engine casts one, frozen or not; autocast makes bf16 copies for matrix products. So
gradients and AdamW's two moments are fp32 too. Sizes are taken from the built weights' own dtype.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from pixsearch.model.pixsearch import PixSearch
from pixsearch.training.engines.frozen import encoder_names

FP32 = 4  # bytes
DEEPSPEED_BUCKET = 500_000_000 * FP32  # reduce_bucket_size, its default, allocated as a whole
DEEPSPEED_GATHERED = 1_000_000_000 * FP32  # stage3_max_live_parameters, its default


@dataclass(frozen=True, kw_only=True)
class WeightSizes:
    """Bytes of weights.

    Attributes:
        encoders: the frozen image encoders, which no engine splits.
        layers: of the language model; FSDP gathers them one by one.
        root: all others, gathered together.
        trained: of those that train.
    """

    encoders: int
    layers: int
    largest_layer: int
    root: int
    trained: int

    @property
    def split(self) -> int:
        return self.layers + self.root

    @property
    def whole(self) -> int:
        return self.encoders + self.split


@dataclass(frozen=True, kw_only=True)
class EngineMemory:
    """Bytes that one GPU keeps from step to step under an engine."""

    engine: str
    num_gpus: int
    weights: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer


def weight_sizes(model: PixSearch) -> WeightSizes:
    """Measure a model whose trainable parts are set."""
    encoders = encoder_names(model)
    hidden = sum(
        _bytes(each)
        for name, each in model.named_parameters()
        if any(name == one or name.startswith(f"{one}.") for one in encoders)
    )
    layers = [_module_bytes(each) for each in model.backbone.model.language_model.layers]
    return WeightSizes(
        encoders=hidden,
        layers=sum(layers),
        largest_layer=max(layers),
        root=_module_bytes(model) - hidden - sum(layers),
        trained=sum(_bytes(each) for each in model.parameters() if each.requires_grad),
    )


def engine_memory(sizes: WeightSizes, *, num_gpus: int, accumulation: int) -> list[EngineMemory]:
    """What each engine keeps."""
    return [
        engine(sizes, 1 if engine is _one_process else num_gpus, accumulation) for engine in ENGINES
    ]


def _one_process(sizes: WeightSizes, num_gpus: int, accumulation: int) -> EngineMemory:
    return EngineMemory(
        engine="one process",
        num_gpus=num_gpus,
        weights=sizes.whole,
        gradients=sizes.trained,
        optimizer=2 * sizes.trained,
    )


def _ddp(sizes: WeightSizes, num_gpus: int, accumulation: int) -> EngineMemory:
    return EngineMemory(
        engine="ddp",
        num_gpus=num_gpus,
        weights=sizes.whole,
        gradients=2 * sizes.trained,  # and the buckets, of which they are no views
        optimizer=2 * sizes.trained,
    )


def _fsdp2(sizes: WeightSizes, num_gpus: int, accumulation: int) -> EngineMemory:
    """The root's weights stay gathered from forward to backward, and two layers at a time."""
    gathered = sizes.root + 2 * sizes.largest_layer
    exchanged_at_once = accumulation == 1  # else gradients add up whole until the last micro-batch
    return EngineMemory(
        engine="fsdp2",
        num_gpus=num_gpus,
        weights=sizes.encoders + _split(sizes.split, num_gpus, gathered=gathered),
        gradients=sizes.trained // num_gpus if exchanged_at_once else sizes.trained,
        optimizer=2 * sizes.trained // num_gpus,
    )


def _zero2(sizes: WeightSizes, num_gpus: int, accumulation: int) -> EngineMemory:
    """Rajbhandari et al. 2020 (ZeRO), section 5; the optimiser works on a copy of its share."""
    return EngineMemory(
        engine="zero2",
        num_gpus=num_gpus,
        weights=sizes.whole,
        gradients=sizes.trained // num_gpus + DEEPSPEED_BUCKET,
        optimizer=3 * sizes.trained // num_gpus,
    )


def _zero3(sizes: WeightSizes, num_gpus: int, accumulation: int) -> EngineMemory:
    gathered = min(DEEPSPEED_GATHERED, sizes.split)
    return EngineMemory(
        engine="zero3",
        num_gpus=num_gpus,
        weights=sizes.encoders + _split(sizes.split, num_gpus, gathered=gathered),
        gradients=sizes.trained // num_gpus + DEEPSPEED_BUCKET,
        optimizer=3 * sizes.trained // num_gpus,
    )


ENGINES: tuple[Callable[[WeightSizes, int, int], EngineMemory], ...] = (
    _one_process,
    _ddp,
    _fsdp2,
    _zero2,
    _zero3,
)


def _split(size: int, num_gpus: int, *, gathered: int) -> int:
    """A share of all, and what of the others' shares is gathered at a time."""
    return size // num_gpus + gathered * (num_gpus - 1) // num_gpus


def _module_bytes(module: nn.Module) -> int:
    return sum(map(_bytes, module.parameters()))


def _bytes(parameter: nn.Parameter) -> int:
    return parameter.numel() * parameter.element_size()
