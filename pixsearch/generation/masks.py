"""Masks of grounded phrases, from states that are computed already."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pixsearch.generation.records import EngineStats
from pixsearch.generation.row import GroundedPhrase
from pixsearch.model import PixSearch
from pixsearch.model.features import SegmenterFeatures


class MaskDecoding:
    """Decodes masks of many phrases, of many rows, in one call."""

    def __init__(self, model: PixSearch, stats: EngineStats) -> None:
        self._model = model
        self._stats = stats

    def decode(self, phrases: Iterable[GroundedPhrase]) -> None:
        """Fill in the masks of those phrases that have none yet.

        Raises:
            FloatingPointError: a mask is not finite; it would pass for an empty one.
        """
        missing = [phrase for phrase in phrases if phrase.mask is None]
        if not missing:
            return
        states = torch.stack([phrase.state for phrase in missing])
        maps = SegmenterFeatures.cat([phrase.features.segmenter for phrase in missing])
        mask_logits = self._model.decode_masks(states, maps.to(states.device))
        if not torch.isfinite(mask_logits).all():
            raise FloatingPointError(
                f"among the masks of {len(missing)} phrases are values that are not finite: load "
                "the model in another dtype, or copy its checkpoint anew"
            )
        self._stats.mask_calls += 1
        self._stats.masks_decoded += len(missing)
        self._to_image(missing, mask_logits)

    def _to_image(
        self, phrases: Sequence[GroundedPhrase], mask_logits: Float[Tensor, "num_masks low low"]
    ) -> None:
        """Resize to the images' own pixels, images of one size together."""
        frame = self._model.config.segmenter_frame
        indices_by_size = defaultdict(list)
        for index, phrase in enumerate(phrases):
            indices_by_size[phrase.features.sizes[0]].append(index)
        for (height, width), indices in indices_by_size.items():
            resized = frame.to_image(mask_logits[indices], height=height, width=width)
            for index, mask in zip(indices, (resized > 0).cpu().numpy(), strict=True):
                phrases[index].mask = mask
                phrases[index].state = None  # done with; the row is held longer than its states
