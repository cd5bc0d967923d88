"""Features of a benchmark's images on disk, for policies that follow and for later runs."""

from hashlib import blake2b
from pathlib import Path

import torch

from pixsearch.generation.features import RecentFeatures
from pixsearch.model.features import ImageFeatures
from pixsearch.training.feature_store import read_features, write_features


class StoredFeatures(RecentFeatures):
    """The most recent images in memory, and every image in a folder.

    Without it a benchmark of more images than memory holds shares nothing among its policies: each
    goes through the images in the same order, and what it needs next was dropped longest ago.

    Args:
        capacity: images in memory.
        folder: of one checkpoint and one benchmark: names of images say nothing of either.
        device: where features are wanted.
    """

    def __init__(self, capacity: int, *, folder: Path, device: torch.device) -> None:
        super().__init__(capacity)
        self._folder = folder
        self._device = device
        folder.mkdir(parents=True, exist_ok=True)
        self._paths = {path.stem.split("-")[0]: path for path in folder.glob("*.safetensors")}

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or _digest(str(key)) in self._paths

    def __getitem__(self, key: str) -> ImageFeatures:
        if not super().__contains__(key):
            path = self._paths[_digest(key)]
            height, width = path.stem.split("-")[1].split("x")
            found = read_features(path, size=(int(height), int(width)))
            super().__setitem__(key, found.to(device=self._device))
        return super().__getitem__(key)

    def get(self, key: str, default: ImageFeatures | None = None) -> ImageFeatures | None:
        if key not in self:
            return default
        return self[key]

    def __setitem__(self, key: str, features: ImageFeatures) -> None:
        super().__setitem__(key, features)
        digest = _digest(key)
        if digest not in self._paths:
            [(height, width)] = features.sizes
            path = self._folder / f"{digest}-{height}x{width}.safetensors"
            write_features(path, features)
            self._paths[digest] = path


def _digest(key: str) -> str:
    return blake2b(key.encode(), digest_size=20).hexdigest()
