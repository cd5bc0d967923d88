from pathlib import Path
from threading import Event

import pytest
import torch
from PIL import Image

from pixsearch.config import RunOptions, TrainOptions
from pixsearch.model.features import ImageFeatures
from pixsearch.model.segmenters import SegmenterFeatures
from pixsearch.training.ahead import Ahead
from pixsearch.training.batches import encode_of
from pixsearch.training.engines.frozen import encoder_tensors, hide_encoders
from pixsearch.training.feature_store import FeatureStore, encoder_key, stored
from pixsearch.training.features import FeatureCache
from tests.families import family_model
from tests.tiny import tiny_model


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


def test_the_images_of_a_step_are_encoded_together() -> None:
    encode = CountingEncoder()
    cache = cache_of(encode, limit_gib=0.0)
    cache.hold({str(value): lambda value=value: picture(value) for value in (1, 2, 3, 4)})
    assert get(cache, 2, 1) == [2, 1]
    assert get(cache, 3, 4) == [3, 4]
    assert encode.calls == [4]
    cache.hold({})
    assert get(cache, 1) == [1]
    assert encode.calls == [4, 4]


def store_of(folder: Path, encoder: str = "one") -> FeatureStore:
    return FeatureStore(folder, encoder=encoder)


def test_a_stored_image_is_not_encoded_again(tmp_path: Path) -> None:
    encode = CountingEncoder()
    images = [picture(value) for value in (1, 2, 3)]
    first = stored(encode, store_of(tmp_path), dtype=None)(images)
    again = stored(encode, store_of(tmp_path), dtype=None)(images[::-1])
    assert encode.calls == [3]
    assert again.sizes == first.sizes
    assert torch.equal(again.segmenter.embedding, first.segmenter.embedding.flip(0))
    for ours, theirs in zip(again.patches, first.patches[::-1], strict=True):
        assert torch.equal(ours, theirs)
    stored(encode, store_of(tmp_path), dtype=None)([picture(1), picture(9)])
    assert encode.calls == [3, 2]  # a call is made as a whole
    stored(encode, store_of(tmp_path, "another"), dtype=None)(images)
    assert encode.calls == [3, 2, 3]
    assert not list(tmp_path.rglob("*.partial"))


def test_what_comes_fresh_is_what_is_stored(tmp_path: Path) -> None:
    """In fp16 the features are rounded from the first time on."""
    encode = CountingEncoder()
    halves = stored(encode, store_of(tmp_path), dtype=torch.float16)
    fresh, read = halves([picture(5)]), halves([picture(5)])
    assert encode.calls == [1]
    assert fresh.patches[0].dtype == read.patches[0].dtype == torch.float16
    assert torch.equal(fresh.patches[0], read.patches[0])


@pytest.mark.parametrize("family", ["llava", "qwen3_vl"])
def test_a_real_encoder_is_stored_whole(tmp_path: Path, family: str) -> None:
    model = family_model(family)
    store = store_of(tmp_path, encoder_key(encoder_tensors(model), settings=1))
    image = Image.new("RGB", (40, 30), (200, 10, 10))
    fresh = model.encode_image([image])
    store.put(image, fresh)
    read = store.get(image)
    assert len(read.segmenter.finer) == len(fresh.segmenter.finer)
    pairs = zip(
        (read.patches[0], read.segmenter.embedding, *read.segmenter.finer),
        (fresh.patches[0], fresh.segmenter.embedding, *fresh.segmenter.finer),
        strict=True,
    )
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_encoders_of_other_weights_have_another_key() -> None:
    model = tiny_model()
    key = encoder_key(encoder_tensors(model), settings="pad")
    assert key == encoder_key(encoder_tensors(tiny_model()), settings="pad")
    assert key != encoder_key(encoder_tensors(model), settings="crop")
    with torch.no_grad():
        model.segmenter.vision_encoder.pos_embed[0, 0, 0, 0] += 1
    assert key != encoder_key(encoder_tensors(model), settings="pad")
    with torch.no_grad():
        model.new_rows.embedding += 1  # no encoder's
    hidden = encoder_key(encoder_tensors(model), settings="pad")
    hide_encoders(model)
    assert encoder_key(encoder_tensors(model), settings="pad") == hidden


def test_the_next_step_is_made_meanwhile() -> None:
    begun = {step: Event() for step in range(9)}

    def make(step: int) -> int:
        begun[step].set()
        if step == 3:
            raise ValueError("step 3")
        return step * 10

    ahead = Ahead(make, last=4, enabled=True)
    for step in range(3):
        assert ahead.get(step) == 10 * step
        assert begun[step + 1].wait(timeout=30)  # nobody has asked for it
    with pytest.raises(ValueError, match="step 3"):
        ahead.get(3)
    assert ahead.get(4) == 40
    assert not begun[5].is_set()
    assert Ahead(make, last=8, enabled=False).get(7) == 70
    assert not begun[8].is_set()


def test_what_else_decides_features_is_part_of_the_key(tmp_path: Path) -> None:
    options = TrainOptions(run=RunOptions(output_dir="", feature_store=str(tmp_path)))
    folders = set()
    for change in ({}, {"half": True}, {"layer": -1}, {"batch": 3}):
        model = tiny_model()
        options.run.feature_cache_half = change.get("half", False)
        options.run.encode_batch = change.get("batch", 8)
        model.config.backbone.vision_feature_layer = change.get("layer", -2)
        encode_of(model, options)([picture(1)])
        folders |= {path.parent for path in tmp_path.rglob("*.safetensors")}
    assert len(folders) == 4


def test_a_repeated_image_is_stored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = []
    store = store_of(tmp_path)
    write = store.put
    monkeypatch.setattr(store, "put", lambda *given: put.append(1) or write(*given))
    stored(CountingEncoder(), store, dtype=None)([picture(1)] * 4)
    assert len(put) == 1
