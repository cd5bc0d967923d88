"""Estimated memory of one GPU under each engine, in bytes.

Sizes are taken from the built weights' own dtypes, those of training: composing.py loads fp32,
which what trains stays in, and with it its gradients and AdamW's two moments; no engine casts a
weight (pixsearch/training/engines/). For frozen ones see storage.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pixsearch.model.pixsearch import PixSearch
from pixsearch.training.engines.frozen import encoder_names
from pixsearch.training.planning.storage import module_bytes, weight_bytes

FP32 = 4  # bytes
DEEPSPEED_BUCKET = 500_000_000 * FP32  # reduce_bucket_size, its default, allocated as a whole
DEEPSPEED_GATHERED = 1_000_000_000  # stage3_max_live_parameters, its default; weights, not bytes


@dataclass(frozen=True, kw_only=True)
class WeightSizes:
    """Bytes of weights.

    Attributes:
        encoders: the frozen image encoders, which no engine splits.
        layers: of the language model; FSDP gathers them one by one.
        root: all others, gathered together.
        trained: of those that train.
        num_split: how many weights (no bytes) layers and root have.
    """

    encoders: int
    layers: int
    largest_layer: int
    root: int
    trained: int
    num_split: int

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
    """Measure a model whose trainable parts are set, and how its weights are kept."""
    encoders = encoder_names(model)
    hidden = [
        each
        for name, each in model.named_parameters()
        if any(name == one or name.startswith(f"{one}.") for one in encoders)
    ]
    of_encoders = sum(map(weight_bytes, hidden))
    layers = [module_bytes(each) for each in model.backbone.model.language_model.layers]
    every = list(model.parameters())
    return WeightSizes(
        encoders=of_encoders,
        layers=sum(layers),
        largest_layer=max(layers),
        root=module_bytes(model) - of_encoders - sum(layers),
        trained=sum(weight_bytes(each) for each in every if each.requires_grad),
        num_split=sum(each.numel() for each in every) - sum(each.numel() for each in hidden),
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
    """No weight is too small to be split (stage3_param_persistence_threshold: 0)."""
    gathered = sizes.split * min(DEEPSPEED_GATHERED, sizes.num_split) // sizes.num_split
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
