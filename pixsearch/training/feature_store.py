"""Features of the frozen image encoders on disk, for later epochs and other runs."""

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from pixsearch.model.features import ImageFeatures
from pixsearch.model.segmenters import SegmenterFeatures
from pixsearch.training.features import Encode


class FeatureStore:
    """A file per image, under what the encoders are: other weights have a folder of their own.

    Several processes may fill one store: a file is written aside and renamed.

    Args:
        encoder: what tells the encoders apart, `encoder_key`.
    """

    def __init__(self, folder: Path, *, encoder: str) -> None:
        self._folder = folder / encoder
        self._folder.mkdir(parents=True, exist_ok=True)

    def get(self, image: Image.Image) -> ImageFeatures | None:
        """What is stored of an image; None if nothing is."""
        path = self._path(image)
        return read_features(path, size=(image.height, image.width)) if path.exists() else None

    def put(self, image: Image.Image, features: ImageFeatures) -> None:
        """Store what the encoders made of an image."""
        write_features(self._path(image), features)

    def _path(self, image: Image.Image) -> Path:
        pixels = image.convert("RGB")
        content = blake2b(f"{pixels.size}".encode() + pixels.tobytes(), digest_size=20)
        return self._folder / f"{content.hexdigest()}.safetensors"


def read_features(path: Path, *, size: tuple[int, int]) -> ImageFeatures:
    """One image's features from their file.

    Args:
        size: the image's height and width in pixels, which the file does not hold.
    """
    with safe_open(path, framework="pt") as file:
        finer = sorted(name for name in file.keys() if name.startswith("finer"))  # noqa: SIM118 (no dict)
        return ImageFeatures(
            patches=(file.get_tensor("patches"),),
            segmenter=SegmenterFeatures(
                embedding=file.get_tensor("embedding"),
                finer=tuple(file.get_tensor(name) for name in finer),
            ),
            sizes=(size,),
        )


def write_features(path: Path, features: ImageFeatures) -> None:
    """One image's features to a file, which is never seen half written."""
    finer = {f"finer{level}": one for level, one in enumerate(features.segmenter.finer)}
    tensors = {"patches": features.patches[0], "embedding": features.segmenter.embedding}
    aside = path.with_suffix(f".{uuid4().hex}.partial")
    save_file({name: one.contiguous().cpu() for name, one in (tensors | finer).items()}, aside)
    aside.replace(path)


def stored(encode: Encode, store: FeatureStore, *, dtype: torch.dtype | None) -> Encode:
    """The same encoders, of which a call is spared if all its images are stored.

    A call of which some are stored is made as a whole: its shapes, and so its last bits, do not
    hang on what the store holds.

    Args:
        dtype: in which features are stored; by default as they come.
    """

    def encode_or_read(images: list[Image.Image]) -> ImageFeatures:
        rows = {id(image): row for row, image in enumerate(images)}  # short calls repeat their last
        found = {key: store.get(images[row]) for key, row in rows.items()}
        known = {key: one for key, one in found.items() if one is not None}
        if len(known) == len(rows):
            return ImageFeatures.cat([known[id(image)] for image in images])
        features = encode(images).to(dtype=dtype)
        for key, row in rows.items():
            if key not in known:
                store.put(images[row], features.index([row]))
        return features

    return encode_or_read


def encoder_key(tensors: Iterable[tuple[str, Tensor]], *, settings: Any) -> str:
    """Tells encoders apart by their weights, and by what is done to an image before.

    Args:
        settings: of the pixels; its `repr` counts.
    """
    digest = blake2b(repr(settings).encode(), digest_size=10)
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()
