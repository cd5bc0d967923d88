"""One training step with each saving on or off; all on is PixSearch's, all off LISA's and PLUM's.

Theirs (`model_forward` in LISA.py and PLUM.py): conversations are padded to the longest; the vision
tower runs once per conversation; SAM's encoder runs once per image, one image at a time, whatever
was seen before; the head scores every position in fp32; masks are brought to the image's own pixels
before they are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from pixsearch.config import LossOptions, ModelOptions, RunOptions, StageOptions, TrainOptions
from pixsearch.datasets.batch import Batch, collate
from pixsearch.datasets.example import Example
from pixsearch.datasets.mixture import Mixture
from pixsearch.model.features import ImageFeatures
from pixsearch.model.losses import LossCounts, Losses, language_loss, mask_losses
from pixsearch.model.packing import pack
from pixsearch.model.pixsearch import NO_TARGET, PixSearch
from pixsearch.model.segmenters import SegmenterFeatures, segmenter_kind
from pixsearch.training.batches import BatchSource


@dataclass(frozen=True, kw_only=True)
class Savings:
    """What a step saves.

    Attributes:
        pack: conversations about one image share its tokens, rows are filled.
        encode_once: each image goes through both encoders once a step, all in one call.
        keep_features: and never again afterwards.
        small_masks: masks are compared at the decoder's own resolution.
        scored_tokens: the head scores supervised positions alone.
    """

    pack: bool = False
    encode_once: bool = False
    keep_features: bool = False
    small_masks: bool = False
    scored_tokens: bool = False

    @classmethod
    def all(cls) -> "Savings":
        return cls(**{field.name: True for field in fields(cls)})


class ProductStep:
    """The step of a run, by the very classes that a run goes through; all savings are on.

    Args:
        conversations: are drawn image by image, those of `size` to a step.
    """

    def __init__(
        self, model: PixSearch, conversations: Sequence[Example], *, size: int, max_length: int
    ) -> None:
        num_images = len({example.image_id for example in conversations})
        stage = StageOptions(
            name="bench",
            steps=10**6,
            batch_size=size,
            accumulation=1,
            max_length=max_length,
            by_image=True,
            pack=True,
        )
        options = TrainOptions(
            model=ModelOptions(frozen_in_bf16=True),
            stage=stage,
            run=RunOptions(encode_batch=num_images * size // len(conversations)),
        )
        self._model = model
        self._source = BatchSource(
            options, model, mixture_of(conversations), rank=0, num_processes=1
        )

    def losses(self, step: int) -> Losses:
        """Of the batch of a step."""
        (batch,) = self._source.of_step(step)
        return self._model(**self._source.inputs(batch)).losses


def mixture_of(conversations: Sequence[Example]) -> Mixture:
    """The order in which both sides see them."""
    return Mixture({"bench": conversations}, {"bench": 1.0}, seed=0, by_image=True)


class Step:
    """Forward and loss of a batch of examples, with some of the savings.

    Args:
        max_length: tokens of a packed row at most.
    """

    def __init__(self, model: PixSearch, savings: Savings, *, max_length: int) -> None:
        self._model = model
        self._savings = savings
        self._max_length = max_length
        self._kept: dict[str, ImageFeatures] = {}

    def losses(self, examples: Sequence[Example]) -> Losses:
        """As `PixSearch.forward` gives them; the graph is there."""
        frame = self._model.config.segmenter_frame if self._savings.small_masks else None
        batch = collate(examples, self._model.renderer, max_length=self._max_length, frame=frame)
        features, index = self._encode(batch)
        states = self._states(batch, features, index)
        language, num_tokens = self._language(states, batch)
        grounded = self._model.grounding.find(states, batch.input_ids)
        prompts = self._model.grounding(grounded.states, grounded.phrases, len(grounded.rows))
        maps = features.segmenter.index(index[grounded.rows])
        bce, overlap = self._mask_losses(self._model.decode_masks(prompts, maps), examples, batch)
        zero = bce.new_zeros(())
        return Losses(
            language=language,
            mask_bce=bce,
            mask_overlap=overlap,
            span_tagging=zero,
            teacher=zero,
            counts=LossCounts(tokens=num_tokens, masks=len(grounded.rows)),
        )

    def _encode(self, batch: Batch) -> tuple[ImageFeatures, Tensor]:
        """Features, and for each row its place among them."""
        if self._savings.encode_once:
            missing = [key for key in batch.image_ids if key not in self._kept]
            loaders = dict(zip(batch.image_ids, batch.load_images, strict=True))
            kept = dict(self._kept)
            if missing:
                fresh = self._model.encode_image([loaders[key]() for key in missing])
                kept |= {key: fresh.index([place]) for place, key in enumerate(missing)}
            if self._savings.keep_features:
                self._kept = kept
            features = ImageFeatures.cat([kept[key] for key in batch.image_ids])
            return features, batch.image_rows
        return self._encode_as_lisa(batch), torch.arange(len(batch))

    def _encode_as_lisa(self, batch: Batch) -> ImageFeatures:
        """The tower for each conversation, in one call; SAM for each image, one at a time."""
        model = self._model
        images = [load() for load in batch.load_images]
        of_rows = [images[place] for place in batch.image_rows.tolist()]
        kind, maps = segmenter_kind(model.config.segmenter), []
        with torch.no_grad():
            patches = model.family.encode(model.backbone, of_rows)
            for image in images:
                pixels = model.config.segmenter_frame.pixels(image)[None]
                maps.append(kind.encode(model.segmenter, pixels))
        return ImageFeatures(
            patches=tuple(patches),
            segmenter=SegmenterFeatures.cat(maps).index(batch.image_rows),
            sizes=tuple((image.height, image.width) for image in of_rows),
        )

    def _states(
        self, batch: Batch, features: ImageFeatures, index: Tensor
    ) -> Float[Tensor, "batch length width"]:
        model = self._model
        embedded = model.embed(batch.input_ids, features, index)
        if not self._savings.pack:
            return model.language_states(embedded, batch.attention_mask)
        lengths = batch.attention_mask.sum(dim=1).tolist()
        packing = pack(
            batch.input_ids, lengths, batch.image_rows.tolist(), capacity=self._max_length
        )
        return model.whole_states(embedded, packing)

    def _language(
        self, states: Float[Tensor, "batch length width"], batch: Batch
    ) -> tuple[Float[Tensor, ""], int]:
        targets = batch.labels[:, 1:]
        is_target = targets != NO_TARGET
        count = int(is_target.sum())
        if self._savings.scored_tokens:
            logits = self._model.next_logits(states[:, :-1][is_target])
            return language_loss(logits, targets[is_target]), count
        logits = self._model.next_logits(states).float()[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET, reduction="sum"
        )
        return loss, count

    def _mask_losses(
        self,
        mask_logits: Float[Tensor, "num_masks low low"],
        examples: Sequence[Example],
        batch: Batch,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        options = LossOptions()
        if self._savings.small_masks:
            targets, weights = torch.cat(batch.target_masks), torch.cat(batch.mask_weights)
            return mask_losses(mask_logits, targets, weights, options)
        frame = self._model.config.segmenter_frame
        bce, overlap = mask_logits.new_zeros(()), mask_logits.new_zeros(())
        for logits, example in zip(mask_logits, examples, strict=True):
            assert example.load_masks is not None
            targets = torch.from_numpy(example.load_masks()).float()
            _, height, width = targets.shape
            whole = frame.to_image(logits[None].float(), height=height, width=width)
            one_bce, one_overlap = mask_losses(whole, targets, None, options)
            bce, overlap = bce + one_bce, overlap + one_overlap
        return bce, overlap
