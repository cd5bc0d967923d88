"""Whole numbers found by millions of texts, in sixteen bytes each."""

from hashlib import blake2b

import numpy as np
from jaxtyping import Int64, UInt64

_HASH_BYTES = 8
_MOST_RECENT = 1 << 18  # keys that wait in a dictionary to be sorted in, some 25 MB
NOT_THERE = -1


class KeyTable:
    """Texts, each with a number of 0 or more; of a text no more is held than a hash.

    Two of ten million texts have one hash once in 370,000 tables.
    """

    def __init__(self) -> None:
        self._hashes = np.zeros(0, dtype=np.uint64)
        self._numbers = np.zeros(0, dtype=np.int64)
        self._recent: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._hashes) + len(self._recent)

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def get(self, key: str) -> int | None:
        """The number of a text; None if it is not there."""
        hashed = key_hash(key)
        if hashed in self._recent:
            return self._recent[hashed]
        place = self._place(hashed)
        return None if place is None else int(self._numbers[place])

    def put(self, key: str, number: int = 0) -> None:
        """Give a text a number, also in place of another one."""
        hashed = key_hash(key)
        place = self._place(hashed)
        if place is not None:
            self._numbers[place] = number
            return
        self._recent[hashed] = number
        if len(self._recent) == _MOST_RECENT:
            self._settle()

    def numbers_of(self, hashes: UInt64[np.ndarray, " num_keys"]) -> Int64[np.ndarray, " num_keys"]:
        """The numbers of texts of which the hashes are known (`key_hash`); `NOT_THERE` if none."""
        self._settle()
        places = np.searchsorted(self._hashes, hashes)
        found = np.append(self._hashes, np.uint64(0))[places] == hashes
        found &= places < len(self._hashes)
        return np.where(found, np.append(self._numbers, 0)[places], NOT_THERE)

    def _place(self, hashed: int) -> int | None:
        """Among those that are sorted."""
        place = int(np.searchsorted(self._hashes, np.uint64(hashed)))
        is_there = place < len(self._hashes) and self._hashes[place] == hashed
        return place if is_there else None

    def _settle(self) -> None:
        count = len(self._recent)
        recent = np.fromiter(self._recent, dtype=np.uint64, count=count)
        numbers = np.fromiter(self._recent.values(), dtype=np.int64, count=count)
        self._recent = {}
        hashes = np.concatenate([self._hashes, recent])
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._numbers = np.concatenate([self._numbers, numbers])[order]


def key_hash(key: str) -> int:
    """64 bits that stand for a text."""
    content = key.encode("utf-8", "surrogatepass")  # JSON may hold half a character
    return int.from_bytes(blake2b(content, digest_size=_HASH_BYTES).digest(), "little")
