"""Encoders of documents and queries. A new one: a file here, a line in ENCODERS, a YAML."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from PIL import Image

from pixsearch.config import EncoderOptions, Pooling


@runtime_checkable
class TextEncoder(Protocol):
    """Texts to unit vectors; a text without a single word becomes the zero vector.

    With `normalize=false` of its options the vectors keep their length, here and in all others.

    Attributes:
        fingerprint: sha256 of all that decides the vectors (weights, configuration).
    """

    dimension: int
    fingerprint: str

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "num_texts dimension"]: ...


@runtime_checkable
class ImageEncoder(Protocol):
    """Images of any size and mode to unit vectors. `fingerprint` as in `TextEncoder`.

    An encoder may say a `mean_colour` (RGB, 0 to 255) with which regions are padded and filled.
    """

    dimension: int
    fingerprint: str

    def encode_image(
        self, images: Sequence[Image.Image]
    ) -> Float[np.ndarray, "num_images dimension"]: ...


@runtime_checkable
class DenseEncoder(ImageEncoder, Protocol):
    """An image encoder whose patches lie in the space of its images, so that a region may be the
    mean of its patches.

    The grid of patches lies over the whole image, squashed into it. The mean over the grid is the
    image's vector, but for its length.
    """

    def encode_dense(
        self, images: Sequence[Image.Image]
    ) -> Float[np.ndarray, "num_images rows columns dimension"]: ...


def _clip(options: EncoderOptions) -> ImageEncoder:
    from pixsearch.retrieval.encoders.clip import Clip

    return Clip(options)


def _dino(options: EncoderOptions) -> ImageEncoder:
    from pixsearch.retrieval.encoders.dino import Dino

    return Dino(options)


def _hashed_ngrams(options: EncoderOptions) -> TextEncoder:
    from pixsearch.retrieval.encoders.hashed_ngrams import HashedNgrams

    return HashedNgrams(options)


def _open_clip(options: EncoderOptions) -> ImageEncoder:
    from pixsearch.retrieval.encoders.open_clip import OpenClip

    return OpenClip(options)


def _sentence_transformers(options: EncoderOptions) -> TextEncoder:
    from pixsearch.retrieval.encoders.sentence_transformers import SentenceTransformers

    return SentenceTransformers(options)


# Libraries are imported when their encoder is opened: BM25 alone needs none of them.
ENCODERS: dict[str, Callable[[EncoderOptions], TextEncoder | ImageEncoder]] = {
    "clip": _clip,
    "dino": _dino,
    "hashed_ngrams": _hashed_ngrams,
    "open_clip": _open_clip,
    "sentence_transformers": _sentence_transformers,
}

POOLINGS: dict[str, tuple[Pooling, ...]] = {
    "dino": tuple(Pooling),
    "sentence_transformers": (Pooling.none, Pooling.cls, Pooling.mean),
}
"""What may be chosen; the pooling of the other encoders is part of them."""


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
    for name in ("prefix", "document_prefix"):
        if prefix := getattr(options, name):
            raise ValueError(f"image_encoder.{name}={prefix!r}: an image has none, leave it ''")
    return encoder


def _open(options: EncoderOptions) -> TextEncoder | ImageEncoder:
    if options.name not in ENCODERS:
        raise ValueError(f"encoder {options.name!r} is unknown: choose from {', '.join(ENCODERS)}")
    _refuse_misfits(options)
    encoder = ENCODERS[options.name](options)
    if encoder.dimension != options.dimension:
        raise ValueError(
            f"encoder {options.name} {options.model} gives {encoder.dimension} dimensions, "
            f"the options say {options.dimension}: set dimension={encoder.dimension}"
        )
    return encoder


def _refuse_misfits(options: EncoderOptions) -> None:
    """See that options go together, before anything is loaded.

    Raises:
        ValueError: they do not.
    """
    if options.pooling not in POOLINGS.get(options.name, (Pooling.none,)):
        choices = ", ".join(POOLINGS.get(options.name, ()))
        remedy = f"choose from {choices}" if choices else "its pooling is part of it, set 'none'"
        raise ValueError(f"{options.name}.pooling={options.pooling!s}: {remedy}")
    if options.revision is not None and Path(options.model).is_dir():
        raise ValueError(
            f"{options.name}.revision={options.revision}: {options.model} is a folder, which has "
            "none: leave it null"
        )
