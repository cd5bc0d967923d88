"""Image features of requests: each image is encoded once, several in one batch."""

import logging
from collections.abc import Iterable, Mapping, MutableMapping
from traceback import clear_frames

import torch
from PIL import Image

from pixsearch.generation.records import EngineStats, Request
from pixsearch.model import ImageFeatures, PixSearch

logger = logging.getLogger(__name__)

IMAGES_PER_BATCH = 8  # a SAM-sized encoder takes gigabytes for more


class RecentFeatures(dict[str, ImageFeatures]):
    """Holds the `capacity` images used last, for callers that bring no cache of their own."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity

    def get(self, key: str, default: ImageFeatures | None = None) -> ImageFeatures | None:
        """Features of an image, which is then the one used last."""
        if key not in self:
            return default
        found = self.pop(key)
        super().__setitem__(key, found)
        return found

    def __setitem__(self, key: str, features: ImageFeatures) -> None:
        super().__setitem__(key, features)
        if len(self) > self._capacity:
            del self[next(iter(self))]


class RequestImages:
    """Encodes the images of requests.

    Args:
        cache: `Request.feature_key` → features of one image. The caller's, who thereby shares them
            among policies and decides how many to keep.
    """

    def __init__(
        self, model: PixSearch, cache: MutableMapping[str, ImageFeatures], stats: EngineStats
    ) -> None:
        self._model = model
        self._cache = cache
        self._stats = stats

    def features_of(self, request: Request, upcoming: Iterable[Request]) -> ImageFeatures | None:
        """Features of the request's image, None without one.

        Args:
            upcoming: requests that come next; their images fill the batch if one must be encoded.

        Raises:
            Exception: of whatever kind; this image cannot be encoded, be it alone.
            torch.AcceleratorError: nothing can any longer.
        """
        if request.image is None:
            return None
        found = self._cache.get(request.feature_key)
        if found is not None:
            return found
        encoded = self._encode(self._batch_of(request, upcoming))
        for key, one in encoded.items():
            if isinstance(one, ImageFeatures):
                self._cache[key] = one
        own = encoded[request.feature_key]
        if isinstance(own, Exception):
            raise own
        return own

    def _batch_of(self, request: Request, upcoming: Iterable[Request]) -> dict[str, Image.Image]:
        images = {request.feature_key: request.image}
        for other in upcoming:
            if len(images) == IMAGES_PER_BATCH:
                break
            key = _key_of(other)
            if key is not None and key not in self._cache:
                images.setdefault(key, other.image)
        return images

    def _encode(self, images: Mapping[str, Image.Image]) -> dict[str, ImageFeatures | Exception]:
        """All in one batch; where that fails each alone, so that what one raises is its own."""
        try:
            encoded = self._model.encode_image(list(images.values()))
        except torch.AcceleratorError:  # the device is lost, for everybody
            raise
        except Exception as error:  # of whatever kind: a format, or memory
            clear_frames(error.__traceback__)  # they hold what memory ran out for
            if len(images) == 1:
                return dict.fromkeys(images, error)
            reason = str(error)  # a log may keep what it is given, and rows hang on the error
            logger.warning("%d images are encoded one by one: %s", len(images), reason)
        else:
            self._stats.vision_encodes += len(images)
            self._stats.segmenter_encodes += len(images)
            return {key: encoded.index([index]) for index, key in enumerate(images)}
        each = [self._encode({key: image}) for key, image in images.items()]
        return {key: one for alone in each for key, one in alone.items()}


def _key_of(request: Request) -> str | None:
    """Under which features are kept; None of pixels that cannot be read, which is told in turn."""
    try:
        return request.feature_key if request.image is not None else None
    except Exception as error:  # of whatever kind: it is this request's alone
        logger.debug("request %s: %s", request.id, error)
        return None
