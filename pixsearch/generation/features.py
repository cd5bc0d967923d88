"""Image features of requests: each image is encoded once, several in one batch."""

from collections.abc import Iterable, MutableMapping

from pixsearch.generation.records import EngineStats, Request
from pixsearch.model import ImageFeatures, PixSearch

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
            OSError, ValueError: this image cannot be encoded.
        """
        if request.image is None:
            return None
        found = self._cache.get(request.feature_key)
        if found is not None:
            return found
        try:
            return self._encode(request, upcoming)
        except (OSError, ValueError):  # it may be another's image that cannot be encoded
            return self._encode(request, ())

    def _encode(self, request: Request, upcoming: Iterable[Request]) -> ImageFeatures:
        images = {request.feature_key: request.image}
        for other in upcoming:
            if len(images) == IMAGES_PER_BATCH:
                break
            if other.image is not None and other.feature_key not in self._cache:
                images.setdefault(other.feature_key, other.image)
        encoded = self._model.encode_image(list(images.values()))
        self._stats.vision_encodes += len(images)
        self._stats.segmenter_encodes += len(images)
        for index, key in enumerate(images):
            self._cache[key] = encoded.index([index])
        return encoded.index([0])
