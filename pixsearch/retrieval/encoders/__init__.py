"""Encoders of documents and queries. A new one: a file here, a line in ENCODERS, a YAML."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from PIL import Image

from pixsearch.config import EncoderOptions
from pixsearch.retrieval.encoders.hashed_ngrams import HashedNgrams
from pixsearch.retrieval.encoders.open_clip import OpenClip


@runtime_checkable
class TextEncoder(Protocol):
    """Texts to unit vectors; a text without a single word becomes the zero vector.

    Attributes:
        fingerprint: sha256 of all that decides the vectors (weights, configuration).
    """

    dimension: int
    fingerprint: str

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "num_texts dimension"]: ...


@runtime_checkable
class ImageEncoder(Protocol):
    """Images of any size and mode to unit vectors. `fingerprint` as in `TextEncoder`."""

    dimension: int
    fingerprint: str

    def encode_image(
        self, images: Sequence[Image.Image]
    ) -> Float[np.ndarray, "num_images dimension"]: ...


ENCODERS: dict[str, Callable[[EncoderOptions], TextEncoder | ImageEncoder]] = {
    "hashed_ngrams": HashedNgrams,
    "open_clip": OpenClip,
}


def open_text_encoder(options: EncoderOptions) -> TextEncoder:
    """The text encoder that `options` name.

    Raises:
        ValueError: unknown name, not a text encoder, or another dimension than stated.
    """
    encoder = _open(options)
    if not isinstance(encoder, TextEncoder):
        raise ValueError(f"text_encoder.name={options.name} cannot encode text: choose another")
    return encoder


def open_image_encoder(options: EncoderOptions) -> ImageEncoder:
    """The image encoder that `options` name.

    Raises:
        ValueError: unknown name, not an image encoder, a text prefix, or another dimension.
    """
    encoder = _open(options)
    if not isinstance(encoder, ImageEncoder):
        raise ValueError(f"image_encoder.name={options.name} cannot encode images: choose another")
    if options.prefix:
        raise ValueError(f"image_encoder.prefix={options.prefix!r}: an image has none, leave it ''")
    return encoder


def _open(options: EncoderOptions) -> TextEncoder | ImageEncoder:
    if options.name not in ENCODERS:
        raise ValueError(f"encoder {options.name!r} is unknown: choose from {', '.join(ENCODERS)}")
    if options.pooling != "none":
        raise ValueError(
            f"{options.name}.pooling={options.pooling!r}: its pooling is part of it, set 'none'"
        )
    encoder = ENCODERS[options.name](options)
    if encoder.dimension != options.dimension:
        raise ValueError(
            f"encoder {options.name} {options.model} gives {encoder.dimension} dimensions, "
            f"the options say {options.dimension}: set dimension={encoder.dimension}"
        )
    return encoder
