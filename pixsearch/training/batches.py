"""The batches that one process trains on, and the model's inputs made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from pixsearch.config import Attention, OnTooLong, TrainOptions
from pixsearch.datasets.batch import Batch, collate
from pixsearch.datasets.example import Example
from pixsearch.datasets.mixture import Mixture
from pixsearch.model.config import PixSearchConfig
from pixsearch.model.features import ImageFeatures
from pixsearch.model.packing import Packing, pack, pack_apart
from pixsearch.model.pixsearch import PixSearch
from pixsearch.training.ahead import Ahead
from pixsearch.training.engines.frozen import encoder_tensors
from pixsearch.training.feature_store import FeatureStore, encoder_key, stored
from pixsearch.training.features import Encode, FeatureCache
from pixsearch.training.order import BatchOrder, approximate_length, micro_batches


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a step needs: its micro-batches, and those of its images that are not encoded yet."""

    batches: list[Batch]
    images: dict[str, Image.Image]


class BatchSource:
    """Draws examples by the number of a step, and puts features of frozen encoders to them."""

    def __init__(
        self,
        options: TrainOptions,
        model: PixSearch,
        mixture: Mixture,
        *,
        rank: int,
        num_processes: int,
    ) -> None:
        stage, run = options.stage, options.run
        self._options = options
        self._model = model
        self._mixture = mixture
        self._rank = rank
        self._num_processes = num_processes
        self.global_batch = stage.batch_size * stage.accumulation * num_processes
        self._order = BatchOrder(
            global_batch=self.global_batch,
            together=stage.batch_size * num_processes,
            window=stage.length_window,
            seed=run.seed,
            length=self._length,
            image=self._image if stage.by_image else None,
        )
        self._image_tokens: dict[str | None, int] = {}
        self._features = FeatureCache(
            encode_of(model, options),
            encode_batch=run.encode_batch,
            limit_gib=run.feature_cache_gib,
            half=run.feature_cache_half,
        )
        self._ahead = Ahead(self.prepare, last=stage.steps - 1, enabled=run.decode_ahead)

    def of_step(self, step: int) -> list[Batch]:
        """This process's micro-batches of a step; their images are encoded together."""
        prepared = self._ahead.get(step)
        self._features.hold(
            {key: lambda image=image: image for key, image in prepared.images.items()}
        )
        return prepared.batches

    def prepare(self, step: int) -> Prepared:
        """Draw, render and decode what a step needs: all that is done ahead of it."""
        batches = self._draw(step)
        loaders = {
            key: load
            for batch in batches
            for key, load in zip(batch.image_ids, batch.load_images, strict=True)
            if key not in self._features
        }
        return Prepared(batches=batches, images={key: load() for key, load in loaders.items()})

    def _draw(self, step: int) -> list[Batch]:
        indices = self._order.indices(0 if self._options.run.overfit_one_batch else step)
        parts = micro_batches(
            indices,
            batch_size=self._options.stage.batch_size,
            rank=self._rank,
            num_processes=self._num_processes,
        )
        return [self._collate([self._mixture[index] for index in part]) for part in parts]

    def of_examples(self, examples: Sequence[Example]) -> list[Batch]:
        """This process's share of some examples, in batches of the usual size."""
        return self.of_all(examples[self._rank :: self._num_processes])

    def of_all(self, examples: Sequence[Example]) -> list[Batch]:
        """Some examples in batches of the usual size."""
        size = self._options.stage.batch_size
        starts = range(0, len(examples), size)
        return [self._collate(examples[start : start + size]) for start in starts]

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The arguments of `PixSearch.forward`, on the model's device."""
        device = self._model.device
        features = None
        if batch.image_ids:
            features = self._features.features(batch.image_ids, batch.load_images)
            features = features.to(device, torch.float32)  # as the weights that train
        return {
            "input_ids": batch.input_ids.to(device),
            "labels": batch.labels.to(device),
            "image_features": features,
            "image_index": batch.image_rows.to(device),
            "span_tags": batch.span_tags.to(device),
            "target_masks": torch.cat(batch.target_masks).to(device),
            "mask_weights": torch.cat(batch.mask_weights).to(device),
            "loss_options": self._options.stage.loss,
            "packing": self._packing(batch),
        }

    def _packing(self, batch: Batch) -> Packing | None:
        if not self._options.stage.pack:
            return None
        lengths = batch.attention_mask.sum(dim=1).tolist()
        if self._options.model.attention is Attention.flash_attention_2:
            packing = pack_apart(batch.input_ids, lengths)
        else:
            packing = pack(
                batch.input_ids,
                lengths,
                batch.image_rows.tolist(),
                capacity=self._options.stage.max_length,
            )
        return packing.to(self._model.device)

    def _collate(self, examples: Sequence[Example]) -> Batch:
        return collate(
            examples,
            self._model.renderer,
            max_length=self._options.stage.max_length,
            frame=self._model.config.segmenter_frame,
            num_image_tokens=self._num_image_tokens,
            cut=self._options.stage.on_too_long is OnTooLong.cut,
        )

    def _num_image_tokens(self, example: Example) -> int:
        """Placeholders of an example's image; an image whose size matters is opened for it once."""
        fixed = self._model.family.fixed_layout
        if fixed is not None:
            return fixed.num_tokens
        if example.image_id not in self._image_tokens:
            self._image_tokens[example.image_id] = self._model.num_image_tokens(
                example.load_image()
            )
        return self._image_tokens[example.image_id]

    def _image(self, index: int) -> str | None:
        return self._mixture.image_id(index)

    def _length(self, index: int) -> int:
        example = self._mixture[index]
        has_image = example.conversation.has_image
        num_image_tokens = self._num_image_tokens(example) if has_image else 0
        return approximate_length(example.conversation, num_image_tokens=num_image_tokens)


def encode_of(model: PixSearch, options: TrainOptions) -> Encode:
    """The frozen encoders, which read what `run.feature_store` has."""
    run = options.run
    encode = encode_in_bf16(model) if options.model.frozen_in_bf16 else model.encode_image
    if run.feature_store is None:
        return encode
    dtype = torch.float16 if run.feature_cache_half else None
    settings = (
        *pixel_settings(model.config),
        dtype,
        run.encode_batch,
        options.model.frozen_in_bf16,
    )
    store = FeatureStore(
        Path(run.feature_store),
        encoder=encoder_key(encoder_tensors(model), settings=settings),
    )
    return stored(encode, store, dtype=dtype)


def pixel_settings(config: PixSearchConfig) -> tuple[object, ...]:
    """What, besides their weights, decides what the encoders make of an image."""
    backbone = config.backbone
    chosen = (
        "vision_feature_layer",
        "vision_feature_select_strategy",
        "image_grid_pinpoints",
        "downsample_ratio",
    )
    return (
        config.image_processor,
        config.image_fit,
        config.segmenter_frame,
        backbone.vision_config.to_dict(),
        [getattr(backbone, name, None) for name in chosen],
    )


def encode_in_bf16(model: PixSearch) -> Encode:
    """The frozen encoders, in the arithmetic for which their weights are rounded."""

    def encode(images: list[Image.Image]) -> ImageFeatures:
        with torch.autocast(model.device.type, torch.bfloat16):
            return model.encode_image(images)

    return encode
