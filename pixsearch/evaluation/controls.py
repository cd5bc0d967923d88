"""Control experiments: what stands in place of a query's region, or of what came back.

They alone may know the gold regions (`gold_region`, `other_region`) while an answer is generated.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool

from pixsearch.config import Control
from pixsearch.datasets.masks import Rle, decode_segmentation
from pixsearch.evaluation.gold import Gold, SegmentationScene
from pixsearch.queries import Passage, Query, Search, calls_at_a_time

Mask = Bool[np.ndarray, "height width"]


@dataclass(kw_only=True)
class RegionControl:
    """Replaces the masks of one answer's region queries; a `RegionOverride` of the engine.

    Attributes:
        candidates: the masks to choose from, by place for gold_region.
        unavailable: how often there was none. Then gold_region keeps the predicted mask, and
            other_region takes a random box, since the predicted one would be the right one.
    """

    control: Control
    seed: tuple[int, ...]
    candidates: Sequence[Sequence[Rle]] = ()
    unavailable: int = field(default=0)

    def __call__(self, place: int, predicted: Mask) -> Mask:
        """The mask to search with in place of the `place`-th region query's own."""
        generator = np.random.default_rng([*self.seed, place])
        if self.control is Control.random_region:
            return random_box(predicted, generator)
        choices = self.candidates[min(place, len(self.candidates) - 1)] if self.candidates else ()
        if not choices:
            self.unavailable += 1
            is_gold = self.control is Control.gold_region
            return predicted if is_gold else random_box(predicted, generator)
        height, width = predicted.shape
        chosen = choices[int(generator.integers(len(choices)))]
        return decode_segmentation(chosen, height=height, width=width)


def region_control(
    control: Control, gold: Gold, scene: SegmentationScene | None, *, seed: int
) -> RegionControl | None:
    """The control of one question; None where its policy has none on regions."""
    if control in (Control.none, Control.shuffled_passages):
        return None
    shown = [search for search in gold.searches if search.mask is not None]
    wanted = {search.entity_id for search in shown}
    phrases = scene.phrases if scene else ()
    others = [phrase.mask for phrase in phrases if phrase.entity_id not in wanted]
    candidates: dict[Control, Sequence[Sequence[Rle]]] = {
        Control.gold_region: [[search.mask] for search in shown],
        Control.other_region: [others],
        Control.random_region: [],
    }
    name = zlib.crc32(gold.interaction_id.encode())
    return RegionControl(control=control, seed=(seed, name), candidates=candidates[control])


def random_box(mask: Mask, generator: np.random.Generator) -> Mask:
    """A box of about the mask's area and of its box's shape, anywhere in the image.

    >>> mask = np.zeros((20, 30), dtype=bool)
    >>> mask[2:6, 3:9] = True
    >>> int(random_box(mask, np.random.default_rng(0)).sum())
    24
    """
    if not mask.any():
        return mask
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box_height, box_width = np.ptp(rows) + 1, np.ptp(columns) + 1
    shrink = np.sqrt(mask.sum() / (box_height * box_width))
    height = max(1, round(float(box_height * shrink)))
    width = max(1, round(float(box_width * shrink)))
    top = int(generator.integers(mask.shape[0] - height + 1))
    left = int(generator.integers(mask.shape[1] - width + 1))
    box = np.zeros_like(mask)
    box[top : top + height, left : left + width] = True
    return box


class ShuffledSearch:
    """Answers each query with what another one finds that has no passage in common with its own.

    Which one hangs on the query's own result and the seed, not on the batch, so that a resumed run
    gives the same.

    Args:
        pool: results of other queries, e.g. those for the benchmark's whole images.
    """

    def __init__(self, search: Search, pool: Sequence[Sequence[Passage]], *, seed: int) -> None:
        self._search = search
        self._pool = [list(passages) for passages in pool if passages]
        self._seed = seed

    @property
    def calls_at_a_time(self) -> int:
        return calls_at_a_time(self._search)

    def __call__(self, queries: Sequence[Query]) -> list[list[Passage]]:
        return [self._other(passages) for passages in self._search(queries)]

    def _other(self, passages: Sequence[Passage]) -> list[Passage]:
        own = {passage.id for passage in passages}
        name = zlib.crc32("\n".join(sorted(own)).encode())
        order = np.random.default_rng([self._seed, name]).permutation(len(self._pool))
        for index in order:
            if own.isdisjoint(passage.id for passage in self._pool[index]):
                return self._pool[index]
        raise ValueError(
            f"shuffled_passages: all {len(self._pool)} results to choose from share a passage with "
            "the query's own; lower policy.k or evaluate more images"
        )
