"""The miniature's text encoder: words and their character n-grams, hashed. Nothing is learned."""

import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from pixsearch.config import EncoderOptions

NGRAM_LENGTHS = (3, 4)
NGRAM_WEIGHT = 1.0  # of a word's n-grams together, against 1 for the word: for misspelt names
# Without document frequencies the commonest words would outweigh a name; they are left out.
COMMON = """
a an and are as at be been by can did do does for from had has have he how i in into is it its me of
on or she that the their them there these they this to was were what when where which who whom whose
why will with you your
"""
STOP_WORDS = frozenset(COMMON.split())


class HashedNgrams:
    """Signed feature hashing of words and character n-grams, logarithmic counts, unit length.

    Features are hashed with crc32, so that vectors are the same in every process. Two texts are
    near if they share rare strings; meaning is out of reach. For the miniature and for tests.
    """

    def __init__(self, options: EncoderOptions) -> None:
        if not options.normalize:
            raise ValueError(
                "hashed_ngrams.normalize=false: its vectors have unit length, set true"
            )
        self.dimension = options.dimension
        described = ["crc32", options.dimension, NGRAM_LENGTHS, NGRAM_WEIGHT, sorted(STOP_WORDS)]
        self.fingerprint = hashlib.sha256(json.dumps(described).encode()).hexdigest()

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "num_texts dimension"]:
        """Unit vectors; zero for a text that holds no word but stop words."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word, count in Counter(_words(text)).items():
                places, weights = _word_features(word, self.dimension)
                np.add.at(vector, places, weights * (1 + np.log(count)))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(norms == 0, 1, norms)


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.lower()) if word not in STOP_WORDS]


@lru_cache(maxsize=100_000)
def _word_features(word: str, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and signed weights of a word; its n-grams together weigh the same for any length."""
    marked = f"<{word}>"
    ngrams = [
        marked[start : start + length]
        for length in NGRAM_LENGTHS
        for start in range(len(marked) - length + 1)
    ]
    features = [f"word:{word}", *ngrams]
    hashes = np.array([zlib.crc32(feature.encode()) for feature in features], dtype=np.int64)
    weights = np.full(len(features), NGRAM_WEIGHT / np.sqrt(max(len(ngrams), 1)), dtype=np.float32)
    weights[0] = 1
    # The place comes from the low bits, the sign from the highest one: independent of each other.
    signs = np.where(hashes >> 31 == 1, -1, 1)
    return (hashes & 0x7FFFFFFF) % dimension, weights * signs
