"""Features of the frozen image encoders, computed once per image."""

from collections.abc import Callable, Mapping, Sequence

import torch
from PIL import Image

from pixsearch.model.features import ImageFeatures

Encode = Callable[[list[Image.Image]], ImageFeatures]
Load = Callable[[], Image.Image]


class FeatureCache:
    """Image features in memory, by image id.

    When the cache is full, the images in it stay: with examples in random order a fixed set is hit
    more often than the most recent ones.

    Args:
        encode: the frozen encoders, `PixSearch.encode_image`.
        encode_batch: images per call. Every call has exactly this many (the last image of a short
            one is repeated), so that the kernels see the same shapes whatever the cache holds, and
            a resumed run with an empty cache gets the same bits.
        limit_gib: memory for the features.
        half: keep them in fp16. What is returned is rounded to it from the first time on.
    """

    def __init__(
        self, encode: Encode, *, encode_batch: int, limit_gib: float, half: bool = False
    ) -> None:
        self._encode = encode
        self._encode_batch = encode_batch
        self._free_bytes = int(limit_gib * 2**30)
        self._dtype = torch.float16 if half else None
        self._features: dict[str, ImageFeatures] = {}
        self._held: dict[str, ImageFeatures] = {}

    def __len__(self) -> int:
        return len(self._features)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._features

    def hold(self, loaders: Mapping[str, Load]) -> None:
        """Encode the images of a step together, and have them until the next step is held.

        Args:
            loaders: decode the images, by id; only those that are not in the cache are called.
        """
        missing = {key: load for key, load in loaders.items() if key not in self}
        self._held = self._encode_missing(missing)

    def features(self, image_ids: Sequence[str], loaders: Sequence[Load]) -> ImageFeatures:
        """Features of some images, in their order.

        Args:
            loaders: decode the images; only those that are not in the cache are called.
        """
        known = self._features | self._held
        missing = {
            image_id: load
            for image_id, load in zip(image_ids, loaders, strict=True)
            if image_id not in known
        }
        known |= self._encode_missing(missing)
        return ImageFeatures.cat([known[key] for key in image_ids])

    def _encode_missing(self, missing: dict[str, Load]) -> dict[str, ImageFeatures]:
        fresh: dict[str, ImageFeatures] = {}
        image_ids = list(missing)
        for start in range(0, len(image_ids), self._encode_batch):
            chunk = image_ids[start : start + self._encode_batch]
            images = [missing[image_id]() for image_id in chunk]
            images += images[-1:] * (self._encode_batch - len(images))
            encoded = self._encode(images)
            for row, image_id in enumerate(chunk):
                fresh[image_id] = encoded.index([row]).to("cpu", self._dtype)
                self._keep(image_id, fresh[image_id])
        return fresh

    def _keep(self, image_id: str, features: ImageFeatures) -> None:
        if features.nbytes <= self._free_bytes:
            self._features[image_id] = features
            self._free_bytes -= features.nbytes
