"""Lines of a JSONL file whose id stands in an earlier line already."""

from pathlib import Path

import numpy as np

from pixsearch.datasets.files import REMEMBERED_FROM
from pixsearch.datasets.questions.records import KeyedLines
from pixsearch.sidecar import Stamp, remember, remembered

_REPEATED = ".repeated.npy"


def repeated_lines(path: Path, field: str) -> dict[int, int]:
    """Rows whose id stands earlier already, each with the first row that has it.

    A long file is read through once; what was found lies in `NAME.repeated.npy`
    (`pixsearch.sidecar`).
    """
    if path.stat().st_size < REMEMBERED_FROM:
        return KeyedLines(path, field).repeated()
    stamp = Stamp.of(path)
    known = remembered(path, _REPEATED, stamp)
    if known is None:
        pairs = [*KeyedLines(path, field).repeated().items()]
        known = np.array(pairs, dtype=np.int64).ravel()
        remember(path, _REPEATED, stamp, known)
    rows, firsts = known[::2].tolist(), known[1::2].tolist()
    return dict(zip(rows, firsts, strict=True))
