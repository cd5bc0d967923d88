"""Images of requests: encoded several at a time, and kept for the next request."""

from collections.abc import Sequence

import pytest
import torch
from PIL import Image

from pixsearch.config import GenerationOptions, PolicyOptions
from pixsearch.generation import Engine, FailureKind, Request
from pixsearch.generation.features import RecentFeatures
from pixsearch.model import ImageFeatures, PixSearch
from tests.generation.scripted import QUESTION, RecordingSearch, Scripted, ids_of, picture


def test_the_image_used_longest_ago_goes_first(model: PixSearch) -> None:
    features = model.encode_image([picture()])
    recent = RecentFeatures(2)
    recent["a"] = recent["b"] = features
    assert recent.get("a") is features
    assert recent.get("c") is None
    recent["c"] = features
    assert list(recent) == ["a", "c"]


def test_an_image_that_cannot_be_encoded_ends_its_own_row_alone(
    model: PixSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {name: picture(seed) for seed, name in enumerate(("one", "broken", "two"))}
    encode, calls = PixSearch.encode_image, []

    def run_out(self: PixSearch, images: Sequence[Image.Image]) -> ImageFeatures:
        calls.append(len(images))
        if pictures["broken"] in images:
            raise RuntimeError("out of memory")
        return encode(self, images)

    monkeypatch.setattr(PixSearch, "encode_image", run_out)
    engine = Engine(
        model,
        RecordingSearch(),
        PolicyOptions(),
        GenerationOptions(),
        choose=Scripted({name: ids_of(model, "A cup") for name in pictures}),
    )
    requests = [Request(id=name, question=QUESTION, image=one) for name, one in pictures.items()]
    ends = {end.request_id: end for end in engine.finished(requests)}
    assert (ends["one"].failure, ends["two"].failure) == (None, None)
    failure = ends["broken"].failure
    assert (failure.kind, failure.reason) == (FailureKind.error, "out of memory")
    assert calls == [3, 1, 1, 1, 1]  # together, each alone, the broken one when its row comes
    assert engine.stats.vision_encodes == 2
    assert engine.stats.failures == 1


def test_a_lost_device_ends_the_engine_not_one_row(
    model: PixSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_lost(self: PixSearch, images: Sequence[Image.Image]) -> ImageFeatures:
        raise torch.AcceleratorError("device-side assert")

    monkeypatch.setattr(PixSearch, "encode_image", be_lost)
    engine = Engine(model, RecordingSearch(), PolicyOptions(), GenerationOptions())
    with pytest.raises(torch.AcceleratorError):
        list(engine.finished([Request(id="one", question=QUESTION, image=picture())]))


def test_pixels_that_cannot_be_read_end_their_own_row_alone(
    model: PixSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(mode: str) -> Image.Image:
        raise ValueError(f"no conversion to {mode}")

    broken = picture()
    monkeypatch.setattr(broken, "convert", refuse)
    requests = [
        Request(id="one", question=QUESTION, image=picture(1)),
        Request(id="broken", question=QUESTION, image=broken),
    ]
    engine = Engine(
        model,
        RecordingSearch(),
        PolicyOptions(),
        GenerationOptions(),
        choose=Scripted({each.id: ids_of(model, "A cup") for each in requests}),
    )
    ends = {end.request_id: end for end in engine.finished(requests)}
    assert ends["one"].failure is None
    assert ends["broken"].failure.kind is FailureKind.error
