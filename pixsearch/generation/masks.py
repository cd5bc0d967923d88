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
from pixsearch.model.mask_feedback import EarlierMasks

PIXELS_AT_ONCE = 1 << 26  # of masks that are enlarged together: 256 MiB in fp32


class MaskDecoding:
    """Decodes masks of many phrases, of many rows, in one call.

    Args:
        keeps_logits: the phrases keep the decoder's logits beside their masks.
    """

    def __init__(self, model: PixSearch, stats: EngineStats, *, keeps_logits: bool = False) -> None:
        self._model = model
        self._stats = stats
        self._has_feedback = model.grounding.feedback is not None
        self._keeps_logits = keeps_logits or self._has_feedback

    def decode(self, phrases: Iterable[GroundedPhrase]) -> set[GroundedPhrase]:
        """Fill in the masks of those phrases that have none yet.

        Where masks prompt the next, those of earlier phrases come first, turn by turn.

        Returns:
            Those whose mask is not finite, which would pass for an empty one.
        """
        wanted = list(phrases)
        if not self._has_feedback:
            return self._decode(wanted)
        every = {one: None for phrase in wanted for one in (*phrase.earlier, phrase)}
        by_turn = defaultdict(list)
        for phrase in every:
            by_turn[len(phrase.earlier)].append(phrase)
        broken: set[GroundedPhrase] = set()
        for turn in sorted(by_turn):
            broken |= self._decode(by_turn[turn])
        return broken

    def _decode(self, phrases: Sequence[GroundedPhrase]) -> set[GroundedPhrase]:
        """One call for phrases that stand behind as many others."""
        missing = [phrase for phrase in phrases if phrase.mask is None]
        if not missing:
            return set()
        lengths = torch.tensor([len(phrase.states) for phrase in missing])
        owners = torch.repeat_interleave(torch.arange(len(missing)), lengths)
        states = torch.cat([phrase.states for phrase in missing])
        prompts = self._model.grounding(states, owners.to(states.device), len(missing))
        maps = SegmenterFeatures.cat([phrase.features.segmenter for phrase in missing])
        earlier = self._earlier(missing)
        mask_logits = self._model.decode_masks(prompts, maps.to(states.device), earlier)
        self._stats.mask_calls += 1
        self._stats.masks_decoded += len(missing)
        if self._keeps_logits:
            for phrase, prompt, logits in zip(missing, prompts, mask_logits, strict=True):
                phrase.prompt, phrase.mask_logits = prompt, logits
        self._to_image(missing, mask_logits)
        is_finite = torch.isfinite(mask_logits).all(dim=-1).all(dim=-1).tolist()
        broken = [phrase for phrase, is_so in zip(missing, is_finite, strict=True) if not is_so]
        for phrase in broken:
            phrase.mask = None
        return set(broken)

    def _earlier(self, phrases: Sequence[GroundedPhrase]) -> EarlierMasks | None:
        if not self._has_feedback or not phrases[0].earlier:
            return None
        prompts = [torch.stack([one.prompt for one in phrase.earlier]) for phrase in phrases]
        logits = [torch.stack([one.mask_logits for one in phrase.earlier]) for phrase in phrases]
        return EarlierMasks(prompts=torch.stack(prompts), mask_logits=torch.stack(logits))

    def _to_image(
        self, phrases: Sequence[GroundedPhrase], mask_logits: Float[Tensor, "num_masks low low"]
    ) -> None:
        """Resize to the images' own pixels, images of one size together, PIXELS_AT_ONCE of them."""
        square = self._model.config.segmenter_frame.size**2
        indices_by_size = defaultdict(list)
        for index, phrase in enumerate(phrases):
            indices_by_size[phrase.features.sizes[0]].append(index)
        for (height, width), indices in indices_by_size.items():
            at_once = max(1, PIXELS_AT_ONCE // max(height * width, square))
            for first in range(0, len(indices), at_once):
                some = indices[first : first + at_once]
                self._enlarge([phrases[index] for index in some], mask_logits[some])

    def _enlarge(
        self, phrases: Sequence[GroundedPhrase], mask_logits: Float[Tensor, "num_masks low low"]
    ) -> None:
        """Give phrases about images of one size their masks."""
        height, width = phrases[0].features.sizes[0]
        frame = self._model.config.segmenter_frame
        resized = frame.to_image(mask_logits, height=height, width=width)
        for phrase, mask in zip(phrases, (resized > 0).cpu().numpy(), strict=True):
            phrase.mask = mask
            phrase.states = None  # done with; the row is held longer than its states
