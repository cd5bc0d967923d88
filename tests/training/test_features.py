import pytest
import torch
from PIL import Image

from pixsearch.model.features import ImageFeatures
from pixsearch.model.segmenters import SegmenterFeatures
from pixsearch.training.features import FeatureCache


class CountingEncoder:
    """Features that hold the image's first pixel, and a record of the calls."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, images: list[Image.Image]) -> ImageFeatures:
        self.calls.append(len(images))
        first = torch.tensor([image.getpixel((0, 0)) for image in images], dtype=torch.float32)
        return ImageFeatures(
            patches=tuple(first[:, None, None, None].expand(-1, 1, 2, 3) / 3),
            segmenter=SegmenterFeatures(embedding=first[:, None, None, None].expand(-1, 4, 2, 2)),
            sizes=tuple((image.height, image.width) for image in images),
        )


def picture(value: int) -> Image.Image:
    return Image.new("L", (4, 4), value)


def cache_of(encode: CountingEncoder, **options: float) -> FeatureCache:
    return FeatureCache(encode, **{"encode_batch": 4, "limit_gib": 1.0} | options)


def get(cache: FeatureCache, *values: int) -> list[float]:
    loaders = [lambda value=value: picture(value) for value in values]
    features = cache.features([str(value) for value in values], loaders)
    return features.segmenter.embedding[:, 0, 0, 0].tolist()


def test_each_image_is_encoded_once_and_returned_in_order() -> None:
    encode = CountingEncoder()
    cache = cache_of(encode)
    assert get(cache, 1, 2, 3) == [1, 2, 3]
    assert get(cache, 3, 4, 1) == [3, 4, 1]
    assert encode.calls == [4, 4]  # always a whole call: shapes do not hang on the cache
    assert len(cache) == 4


def test_what_is_known_is_not_decoded_again() -> None:
    cache = cache_of(CountingEncoder())
    get(cache, 7)

    def load() -> Image.Image:
        raise AssertionError("decoded again")

    assert cache.features(["7"], [load]).sizes == ((4, 4),)


def test_a_full_cache_keeps_what_it_has() -> None:
    encode = CountingEncoder()
    bytes_per_image = (2 * 3 + 4 * 2 * 2) * 4
    cache = cache_of(encode, limit_gib=2 * bytes_per_image / 2**30)
    assert get(cache, 1, 2, 3) == [1, 2, 3]
    assert get(cache, 1, 2, 3) == [1, 2, 3]
    assert len(cache) == 2
    assert len(encode.calls) == 2


def test_half_precision_rounds_from_the_first_time_on() -> None:
    cache = cache_of(CountingEncoder(), half=True)
    first = cache.features(["1"], [lambda: picture(1)])
    second = cache.features(["1"], [lambda: picture(1)])
    assert first.patches[0].dtype is torch.float16
    assert torch.equal(first.patches[0], second.patches[0])
    assert first.patches[0][0, 0, 0].item() == pytest.approx(1 / 3, abs=1e-3)
