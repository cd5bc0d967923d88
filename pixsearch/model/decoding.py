"""How a PixSearch decodes masks: one by one, in turn, or those of a whole batch."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from pixsearch.model.config import PixSearchConfig
from pixsearch.model.features import ImageFeatures
from pixsearch.model.grounding import GroundedStates, Grounding
from pixsearch.model.mask_feedback import EarlierMasks, decode_in_turn
from pixsearch.model.segmenters import Sam, SegmenterFeatures


class DecodesMasks:
    """The part of `PixSearch` that stands between prompts and masks."""

    config: PixSearchConfig
    device: torch.device
    segmenter: PreTrainedModel
    grounding: Grounding
    _kind: Sam

    def decode_masks(
        self,
        prompts: Float[Tensor, "num_masks channels"],
        features: SegmenterFeatures,
        earlier: EarlierMasks | None = None,
    ) -> Float[Tensor, "num_masks low low"]:
        """Masks for the prompts of grounded phrases, each on its own image, in one call.

        Args:
            earlier: what the phrases before in each conversation led to, for models in which masks
                prompt the next.
        """
        if not len(prompts):
            side = self.config.segmenter_frame.resolution
            return prompts.new_zeros(0, side, side)
        dense = None
        if earlier is not None:
            assert self.grounding.feedback is not None
            places = self._kind.places(self.segmenter)
            dense = self.grounding.feedback(earlier, segmenter=self.segmenter, places=places)
        prompting = self.config.prompting
        return self._kind.decode(self.segmenter, prompts, features, prompting, dense)

    def decode_conversations(
        self,
        conversations: Sequence[int],
        prompts: Float[Tensor, "num_masks channels"],
        features: SegmenterFeatures,
    ) -> Float[Tensor, "num_masks low low"]:
        """Masks of all phrases of some conversations; in turn, where masks prompt the next.

        Args:
            conversations: for each phrase its conversation, of which one turn counts as one; those
                of one are neighbours.
            features: of the image of each phrase.
        """
        if self.grounding.feedback is None or not conversations:
            return self.decode_masks(prompts, features)

        def decode(now: Sequence[int], earlier: EarlierMasks | None) -> Tensor:
            return self.decode_masks(prompts[now], features.index(now), earlier)

        return decode_in_turn(conversations, prompts, decode)

    def _decode_batch(
        self,
        grounded: GroundedStates,
        input_ids: Int[Tensor, "batch length"],
        image_features: ImageFeatures | None,
        image_index: Int[Tensor, " batch"] | None,
    ) -> tuple[Float[Tensor, "num_masks low low"], Float[Tensor, ""]]:
        """Masks of all grounded phrases of a batch, and a zero.

        The zero hangs on what decodes masks where the batch does not need it: each process must
        have a gradient for each weight that trains, and must call the modules in the same order.

        Raises:
            ValueError: a row without an image has a grounded phrase.
        """
        if not len(grounded.rows):
            side = self.config.segmenter_frame.resolution
            idle = self._idle_masks(grounded)
            return idle.new_zeros(0, side, side), idle
        images = None if image_index is None else image_index[grounded.rows]
        if image_features is None or images is None or (images < 0).any():
            raise ValueError("a row without an image has a phrase: ground only what is seen")
        prompts = self.grounding(grounded.states, grounded.phrases, len(grounded.rows))
        features = image_features.segmenter.index(images)
        turns = grounded.turns(input_ids == self.config.ids.end).tolist()
        mask_logits = self.decode_conversations(turns, prompts, features)
        needs_idle = self.grounding.feedback is not None and len(set(turns)) == len(turns)
        return mask_logits, self._idle_masks(grounded) if needs_idle else mask_logits.new_zeros(())

    def _idle_masks(self, grounded: GroundedStates) -> Float[Tensor, ""]:
        """A zero that hangs on all that decodes masks, and on the states."""
        state = (0 * grounded.states).sum(dim=0, keepdim=True)
        prompt = self.grounding(state, torch.zeros(1, dtype=torch.long, device=self.device), 1)
        nothing = self._kind.nothing(self.segmenter)
        mask_logits = self.decode_masks(prompt, nothing)
        if self.grounding.feedback is not None:
            earlier = EarlierMasks(prompts=prompt[None], mask_logits=mask_logits[None])
            mask_logits = self.decode_masks(prompt, nothing, earlier)
        return 0 * mask_logits.sum()
