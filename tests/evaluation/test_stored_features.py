"""Features of more images than memory holds are computed once."""

import pytest
import torch
from PIL import Image

from pixsearch.evaluation.stored_features import StoredFeatures

NAMES = ("images/a.png", "b#1", "c")


def store(folder):
    return StoredFeatures(1, folder=folder, device=torch.device("cpu"))


@pytest.fixture
def encoded(shared_model):
    sizes = ((40, 24), (24, 40), (32, 32))  # width, height
    images = [Image.new("RGB", size, (60 * place, 90, 30)) for place, size in enumerate(sizes)]
    features = shared_model.encode_image(images)
    return {name: features.index([place]) for place, name in enumerate(NAMES)}


def test_what_memory_forgot_is_read(tmp_path, encoded):
    features = store(tmp_path)
    for name, one in encoded.items():
        assert name not in features
        assert features.get(name) is None
        features[name] = one
    assert len(features) == 1
    for opened in (features, store(tmp_path)):
        for name, one in encoded.items():
            assert name in opened
            found = opened[name]
            assert found.sizes == one.sizes
            assert torch.equal(found.patches[0], one.patches[0])
            assert torch.equal(found.segmenter.embedding, one.segmenter.embedding)
    with pytest.raises(KeyError):
        features["d"]


def test_nothing_is_written_twice(tmp_path, encoded):
    features = store(tmp_path)
    features["a"] = encoded[NAMES[0]]
    [path] = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    store(tmp_path)["a"] = encoded[NAMES[0]]
    assert [each.stat().st_mtime_ns for each in tmp_path.iterdir()] == [written]
