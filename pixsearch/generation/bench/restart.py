"""What others do about a search: `generate` anew for the whole conversation so far.

As Search-R1's roll-out does: all rows of a batch generate, one call asks the retriever for all of
them, all rows begin again. It is spared what Search-R1 wastes besides: rows stop at `</search>`
here, and nothing is decoded to text and tokenised again.
"""

import time
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from pixsearch.generation.bench.subject import ForcedTrajectory
from pixsearch.model.families.llava import tower_pixels
from pixsearch.model.pixsearch import PixSearch


class ForceIds(LogitsProcessor):
    """Makes each row's next id the only one possible.

    Args:
        ids: of each row from `start` on; a row at its end gets `pad`, which is then ignored.
    """

    def __init__(self, ids: Sequence[Sequence[int]], *, start: int, pad: int) -> None:
        self._ids = ids
        self._start = start
        self._pad = pad

    def __call__(
        self, input_ids: Int[Tensor, "rows length"], scores: Float[Tensor, "rows vocabulary"]
    ) -> Float[Tensor, "rows vocabulary"]:
        step = input_ids.shape[1] - self._start
        chosen = [ids[step] if step < len(ids) else self._pad for ids in self._ids]
        forced = torch.full_like(scores, -torch.inf)
        forced[torch.arange(len(chosen)), torch.tensor(chosen)] = 0
        return forced


def run_restart(
    model: PixSearch,
    trajectories: Sequence[ForcedTrajectory],
    *,
    batch_size: int,
    delay: float = 0.0,
    use_cache: bool = True,
) -> None:
    """Answer along the trajectories, a batch at a time, all rows of a batch in step.

    Args:
        use_cache: within a segment; without it every token computes all before it anew.

    Raises:
        AssertionError: an answer has other ids than its trajectory.
    """
    for start in range(0, len(trajectories), batch_size):
        _run_batch(model, trajectories[start : start + batch_size], delay, use_cache)


def _run_batch(
    model: PixSearch, trajectories: Sequence[ForcedTrajectory], delay: float, use_cache: bool
) -> None:
    pixels = _pixels_of(model, trajectories)
    contexts = [each.contexts() for each in trajectories]
    for place in range(len(trajectories[0].segments)):
        segments = [each.segments[place] for each in trajectories]
        given = [next(context) for context in contexts]
        found = _generate(model, given, segments, pixels, use_cache)
        assert found == [list(segment) for segment in segments], "not as forced"
        if place < trajectories[0].num_searches:
            time.sleep(delay)


def _pixels_of(
    model: PixSearch, trajectories: Sequence[ForcedTrajectory]
) -> Float[Tensor, "batch 3 size size"] | None:
    """Images as pixels, made once: this side is charged with the tower alone."""
    images = [each.image for each in trajectories if each.image is not None]
    if not images:
        return None
    pixels = torch.stack([tower_pixels(image, model.config) for image in images])
    return pixels.to(model.backbone.device, model.backbone.dtype)


@torch.no_grad()
def _generate(
    model: PixSearch,
    contexts: Sequence[list[int]],
    segments: Sequence[Sequence[int]],
    pixels: Float[Tensor, "batch 3 size size"] | None,
    use_cache: bool,
) -> list[list[int]]:
    ids = model.config.ids
    width = max(map(len, contexts))
    padded = [[ids.pad] * (width - len(context)) + context for context in contexts]
    input_ids = torch.tensor(padded, device=model.backbone.device)
    mask = [[0] * (width - len(context)) + [1] * len(context) for context in contexts]
    images = {} if pixels is None else {"pixel_values": pixels}
    output = model.backbone.generate(
        input_ids=input_ids,
        attention_mask=torch.tensor(mask, device=input_ids.device),
        logits_processor=LogitsProcessorList([ForceIds(segments, start=width, pad=ids.pad)]),
        generation_config=GenerationConfig(
            max_new_tokens=max(map(len, segments)),
            do_sample=False,
            use_cache=use_cache,
            eos_token_id=[ids.search_end, ids.end],
            pad_token_id=ids.pad,
        ),
        **images,
    )
    return list(_without_padding(output[:, width:].tolist(), segments))


def _without_padding(
    generated: Sequence[list[int]], segments: Sequence[Sequence[int]]
) -> Iterator[list[int]]:
    for row, segment in zip(generated, segments, strict=True):
        yield row[: len(segment)]
