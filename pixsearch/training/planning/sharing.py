"""What conversations about one image have in common, and how often that is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from pixsearch.config import Attention, PlanOptions


@dataclass(frozen=True, kw_only=True)
class SampleTokens:
    """Tokens of a conversation of the mean length; padding is not counted.

    Attributes:
        whole: its own and its image's.
        together: conversations with whose it shares its image's tokens, itself among them.
        processed: that the language model is given for it.
        row: those of all of them, which attention goes over.
    """

    whole: int
    together: float
    processed: int
    row: int


def sample_tokens(options: PlanOptions, *, num_image_tokens: int) -> SampleTokens:
    """What a sample costs the language model as training lays it out (model/packing.py).

    Packed, conversations of one micro-batch about one image share its tokens, where they stand in
    one row: as many as `stage.max_length` has room for. Equally long ones make no longer rows than
    these. With flash attention nothing is shared. What a template has before the image is not
    counted as shared.
    """
    stage = options.stage
    whole = options.plan.mean_tokens or stage.max_length
    shared = min(num_image_tokens, whole)
    own = whole - shared
    together = 1.0
    if stage.pack and options.model.attention is not Attention.flash_attention_2:
        room = max(1, (stage.max_length - shared) // max(1, own))
        met = that_meet(conversations_in_turn(options), stage.batch_size, [1.0])
        together = met / ceil(met / room)
    return SampleTokens(
        whole=whole,
        together=together,
        processed=round(own + shared / together),
        row=round(own * together + shared),
    )


def images_per_sample(options: PlanOptions) -> float:
    """Images that a process encodes in a step, by its samples.

    Those of all micro-batches go together, in calls of exactly `run.encode_batch` images
    (training/features.py); what fills the last one is counted.
    """
    stage, encode_batch = options.stage, options.run.encode_batch
    samples = stage.batch_size * stage.accumulation
    # of several processes each takes every so many-th micro-batch (training/order.py)
    size = samples if options.plan.num_gpus == 1 else stage.batch_size
    images = samples / that_meet(conversations_in_turn(options), size, [1.0])
    return ceil(images / encode_batch) * encode_batch / samples


def conversations_in_turn(options: PlanOptions) -> float:
    """Conversations about one image that stand one after the other in a global batch.

    There all of them meet that the batch has (training/order.py).
    """
    stage = options.stage
    if not stage.by_image:
        return 1.0
    size = stage.batch_size * stage.accumulation * options.plan.num_gpus
    return that_meet(options.plan.conversations_per_image, size, dataset_shares(options))


def dataset_shares(options: PlanOptions) -> list[float]:
    """What share of the draws each dataset has."""
    weights = list(options.stage.mixture.values()) or [1.0]
    return [weight / sum(weights) for weight in weights]


def that_meet(conversations: float, size: int, shares: Sequence[float]) -> float:
    """How many of the conversations about one image stand together in a part, in the mean.

    The draws of several datasets alternate. Of each that a part has at all it has one image, and
    another wherever the dataset's next one begins. Datasets count as spread evenly, as the blocks
    of the mixture (datasets/mixture.py) about do.

    Args:
        conversations: about one image, one after the other among its dataset's, in the mean.
        size: of a part, in conversations.
        shares: of the datasets, which sum to one.

    >>> that_meet(3.0, 1, [1.0]), that_meet(1.0, 6, [1.0]), that_meet(3.0, 10, [1.0])
    (1.0, 1.0, 2.5)
    """
    num_datasets = sum(min(1.0, size * share) for share in shares)
    return size / (num_datasets + (size - num_datasets) / conversations)
