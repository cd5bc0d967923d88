"""Whole images and regions of images as queries: each becomes one vector."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32
from PIL import Image

from pixsearch.config import QueryType, RegionCrop, RetrievalOptions
from pixsearch.queries import Query
from pixsearch.retrieval.crops import MEAN_COLOUR, check_mask, region_views
from pixsearch.retrieval.encoders import DenseEncoder, ImageEncoder


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageQuery:
    """An image, or a region of it.

    Attributes:
        mask: of the region, in the image's own pixels; None: the whole image.
        crop: how the region becomes a vector.
    """

    image: Image.Image
    mask: Bool[np.ndarray, "height width"] | None = None
    crop: RegionCrop = RegionCrop.masked_crop

    @classmethod
    def of(cls, query: Query, crop: RegionCrop) -> "ImageQuery":
        """What an image or region query is searched by."""
        assert query.image is not None
        mask = query.mask if query.type is QueryType.region else None
        return cls(image=query.image, mask=mask, crop=crop)

    @property
    def is_pooled(self) -> bool:
        """Whether it is made of the patches of its image, not of an image of its own."""
        return self.mask is not None and self.crop is RegionCrop.mask_pooled


class ImageQueryEncoder:
    """Encodes image queries as `options` say, all that need an image in one call of the encoder.

    A region with `mask_pooled` is the mean of the encoder's patches that its mask covers, each by
    the share of the mask that lies in it: of a mask thinner than a patch, the patches that hold it.
    The encoder sees each image once, whatever the number of its regions in one call (of one image
    object). Documents lie in the same space where their vector is the mean of their patches, that
    is for `dino` with `pooling=mean`. CLIP's vector is a projected class token, to which its
    patches were never trained to be near; such encoders are refused.
    """

    def __init__(self, encoder: ImageEncoder, options: RetrievalOptions) -> None:
        self._encoder = encoder
        self._options = options
        self._colour: tuple[int, int, int] = getattr(encoder, "mean_colour", MEAN_COLOUR)

    def encode(self, queries: Sequence[ImageQuery]) -> Float32[np.ndarray, "num_queries dimension"]:
        """One vector per query, as long as the encoder makes those of documents.

        Raises:
            ValueError: a mask that is empty or of another size than its image, or `mask_pooled`
                with an encoder whose patches are of no use.
        """
        vectors = np.empty((len(queries), self._encoder.dimension), dtype=np.float32)
        is_pooled = np.array([query.is_pooled for query in queries], dtype=bool)
        for chosen, encode in ((is_pooled, self._pooled), (~is_pooled, self._seen)):
            places = np.flatnonzero(chosen)
            if places.size:
                vectors[places] = encode([queries[place] for place in places])
        return vectors

    def _seen(self, queries: Sequence[ImageQuery]) -> Float32[np.ndarray, "num_queries dimension"]:
        """Of one view or the mean of several."""
        views = [self._views(query) for query in queries]
        encoded = self._encoder.encode_image([view for each in views for view in each])
        ends = np.cumsum([len(each) for each in views])
        means = [
            group[0] if len(group) == 1 else self._scaled(group.mean(axis=0))
            for group in np.split(encoded, ends[:-1])
        ]
        return np.stack(means)

    def _views(self, query: ImageQuery) -> list[Image.Image]:
        if query.mask is None:
            return [query.image]
        return region_views(
            query.image,
            query.mask,
            crop=query.crop,
            options=self._options,
            colour=self._colour,
        )

    def _pooled(
        self, queries: Sequence[ImageQuery]
    ) -> Float32[np.ndarray, "num_queries dimension"]:
        encoder = self._encoder
        if not isinstance(encoder, DenseEncoder):
            raise ValueError(
                f"policy.region_crop=mask_pooled: image_encoder.name="
                f"{self._options.image_encoder.name} has no patches in the space of its images; "
                "set image_encoder.name=dino with pooling=mean, or another region_crop"
            )
        images = {id(query.image): query.image for query in queries}
        patches = dict(zip(images, encoder.encode_dense(list(images.values())), strict=True))
        pooled = []
        for query in queries:
            assert query.mask is not None
            check_mask(query.image, query.mask)
            pooled.append(self._scaled(masked_mean(patches[id(query.image)], query.mask)))
        return np.stack(pooled)

    def _scaled(self, vector: Float[np.ndarray, " dimension"]) -> Float[np.ndarray, " dimension"]:
        """To unit length, where the encoder's vectors have it."""
        return vector / np.linalg.norm(vector) if self._options.image_encoder.normalize else vector


def masked_mean(
    patches: Float[np.ndarray, "rows columns dimension"], mask: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, " dimension"]:
    """The mean of patches, each weighted with the area of the mask that lies in it.

    >>> masked_mean(np.array([[[1.0], [4.0]]]), np.array([[1, 1, 1, 0]], dtype=bool))
    array([2.])

    Args:
        mask: not empty, of any size; the patches lie over it as an even grid.
    """
    rows = _overlaps(mask.shape[0], patches.shape[0])
    columns = _overlaps(mask.shape[1], patches.shape[1])
    weights = rows @ mask @ columns.T
    mean = np.einsum("rc,rcd->d", weights / weights.sum(), patches)
    return mean.astype(patches.dtype)


def _overlaps(length: int, num_parts: int) -> Float[np.ndarray, "num_parts length"]:
    """How much of each pixel lies in each of equal parts of a side.

    >>> _overlaps(3, 2)
    array([[1. , 0.5, 0. ],
           [0. , 0.5, 1. ]])
    """
    edges = np.linspace(0, length, num_parts + 1)[:, None]
    pixels = np.arange(length)
    shared = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return np.clip(shared, 0, None)
