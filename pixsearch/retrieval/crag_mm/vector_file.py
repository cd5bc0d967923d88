"""Whether a file of vectors is whole: chromadb reads a cut one and finds other rows."""

import struct
from pathlib import Path

HEADER, VECTORS = "header.bin", "data_level0.bin"
# hnswlib's header as chromadb writes it: its version, then among other sizes the number of places
# in the file of vectors and the bytes of a place.
LAYOUT = struct.Struct("<i6QiI3QdQ")
VERSION = 1


def refuse_cut_vectors(folder: Path) -> None:
    """See that the file of vectors of each collection in `folder` has the length that it should.

    A header of another version or length is passed over: what it says is not known.

    Raises:
        ValueError: one is longer or shorter.
    """
    for header in sorted(folder.glob(f"*/{HEADER}")):
        content, vectors = header.read_bytes(), header.with_name(VECTORS)
        if len(content) != LAYOUT.size or not vectors.is_file():
            continue
        version, _, num_places, _, place_bytes, *_ = LAYOUT.unpack(content)
        needed, found = num_places * place_bytes, vectors.stat().st_size
        if version == VERSION and found != needed:
            raise ValueError(
                f"{vectors} has {found:,} bytes and its header says {needed:,}: fetch it again, "
                f"and delete {folder} if that is a copy"
            )
