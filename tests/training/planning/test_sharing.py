"""What packed rows cost, against real packings, and what the draws of a mixture share."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pixsearch.chat import Conversation
from pixsearch.config import PlanAssumptions, PlanOptions, StageOptions
from pixsearch.datasets.example import Example
from pixsearch.datasets.mixture import Mixture
from pixsearch.model.backbone import Embedded
from pixsearch.model.packing import Packing, pack
from pixsearch.training.order import BatchOrder, micro_batches
from pixsearch.training.planning.flops import language_flops
from pixsearch.training.planning.sharing import (
    SampleTokens,
    conversations_in_turn,
    images_per_sample,
    sample_tokens,
    that_meet,
)
from tests.tiny import HIDDEN, tiny_model

IMAGE, OWN = 16, 24  # tokens
BATCH = 6
ENDLESS = 1e9  # conversations about one image


def plan_options(conversations_per_image: float, **stage: object) -> PlanOptions:
    base = StageOptions(name="ground", steps=1, trainable=[], mixture={}, by_image=True, pack=True)
    return PlanOptions(
        stage=replace(base, batch_size=BATCH, **stage),
        plan=PlanAssumptions(
            mean_tokens=IMAGE + OWN, conversations_per_image=conversations_per_image
        ),
    )


def tokens_of(options: PlanOptions) -> SampleTokens:
    return sample_tokens(options, num_image_tokens=IMAGE)


@pytest.mark.parametrize("room", [6, 3, 1])
def test_packed_rows(room: int) -> None:
    """All in one row, two rows of three, each alone."""
    capacity = IMAGE + room * OWN
    planned = tokens_of(plan_options(ENDLESS, max_length=capacity))
    real = packing_of_one_image(capacity)
    assert planned.together == pytest.approx(room, rel=0.02)
    assert planned.row == pytest.approx(real.source.shape[1], rel=0.02)
    assert BATCH * planned.processed == pytest.approx(real.num_tokens, rel=0.02)
    flops = language_flops(tiny_model(), tokens=planned.processed, row=planned.row).forward
    assert BATCH * flops == pytest.approx(counted(real), rel=0.04)


def packing_of_one_image(capacity: int) -> Packing:
    shared = torch.zeros(BATCH, IMAGE, dtype=torch.long)
    own = torch.arange(1, 1 + BATCH * OWN).reshape(BATCH, OWN)
    lengths = [IMAGE + OWN] * BATCH
    return pack(torch.cat([shared, own], dim=1), lengths, [0] * BATCH, capacity=capacity)


def counted(packing: Packing) -> int:
    """FLOP of the layers, by torch."""
    embedded = Embedded(embeddings=torch.zeros(BATCH, IMAGE + OWN, HIDDEN))
    with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        tiny_model().whole_states(embedded, packing)
    return counter.get_total_flops()


@pytest.mark.parametrize(
    "stage",
    [{"pack": False}, {"by_image": False}, {"batch_size": 1}],
    ids=str,
)
def test_what_shares_nothing(stage: dict[str, object]) -> None:
    options = plan_options(ENDLESS)
    options.stage = replace(options.stage, **stage)
    tokens = tokens_of(options)
    assert tokens.together == 1
    assert tokens.whole == tokens.processed == tokens.row == IMAGE + OWN


@pytest.mark.parametrize("num_datasets", [1, 4])
@pytest.mark.parametrize("conversations", [2, 5])
def test_conversations_that_meet_in_a_mixture(num_datasets: int, conversations: int) -> None:
    """Images with one conversation up to twice as many as in the mean."""
    question = Conversation.question("?", has_image=True)
    sizes = range(1, 2 * conversations)
    datasets = {
        name: [
            Example(id=f"{row}", conversation=question, image_id=f"{name} {size} {copy}")
            for size in sizes
            for copy in range(60)
            for row in range(size)
        ]
        for name in "abcd"[:num_datasets]
    }
    mixture = Mixture(datasets, dict.fromkeys(datasets, 1.0), seed=0, by_image=True)
    order = BatchOrder(
        global_batch=10 * BATCH,
        together=BATCH,
        window=1,
        seed=0,
        length=lambda index: 0,
        image=lambda index: mixture[index].image_id,
    )
    parts = [
        {mixture[index].image_id for index in part}
        for step in range(40)
        for part in micro_batches(order.indices(step), batch_size=BATCH, rank=0, num_processes=1)
    ]
    met = 400 * BATCH / sum(map(len, parts))
    options = plan_options(float(conversations), accumulation=10)
    options.stage.mixture = dict.fromkeys(datasets, 1.0)
    options.plan.num_gpus = 1
    in_turn = conversations_in_turn(options)
    assert that_meet(in_turn, BATCH, [1.0]) == pytest.approx(met, rel=0.08)


def test_the_images_of_a_step_are_encoded_together() -> None:
    options = plan_options(1.0, accumulation=10)
    options.run.encode_batch = 8
    assert images_per_sample(options) == 64 / 60  # half of the last call is filled
    options.plan.conversations_per_image = 5.0
    assert images_per_sample(options) == 24 / 60  # 10 micro-batches of 2 images
    options.plan.num_gpus = 1  # whose micro-batches follow each other: 12.8 images
    assert images_per_sample(options) == 16 / 60
    options.stage.by_image = False
    assert images_per_sample(options) == 64 / 60
