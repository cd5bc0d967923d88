"""Whether a file of vectors is whole: chromadb reads a cut one and finds other rows."""

import struct
from pathlib import Path

HEADER, VECTORS = "header.bin", "data_level0.bin"
# hnswlib's header as chromadb writes it: its version, then among other sizes the number of vectors
# and the bytes of each in the file, which may have room for more.
LAYOUT = struct.Struct("<i6QiI3QdQ")
VERSION = 1


def refuse_cut_vectors(folder: Path) -> None:
    """See that the file of vectors of each collection in `folder` is long enough.

    A header of another version or length is passed over: what it says is not known.

    Raises:
        ValueError: one is shorter than the vectors that its header counts.
    """
    for header in sorted(folder.glob(f"*/{HEADER}")):
        content, vectors = header.read_bytes(), header.with_name(VECTORS)
        if len(content) != LAYOUT.size or not vectors.is_file():
            continue
        version, _, _, count, vector_bytes, *_ = LAYOUT.unpack(content)
        needed, found = count * vector_bytes, vectors.stat().st_size
        if version == VERSION and found < needed:
            raise ValueError(
                f"{vectors} has {found:,} bytes, too few for {count:,} vectors of "
                f"{vector_bytes:,}: fetch it again, and delete {folder} if that is a copy"
            )
