"""What an index is, written beside it and compared with what is about to be asked of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pixsearch.config import EncoderOptions

REMEDY = "rebuild with scripts/build_index.py"
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What must agree between an index and its user.

    Attributes:
        encoder: key of ENCODERS, or "bm25".
        fingerprint: sha256 of the encoder's weights and configuration.
        metric: "cosine", "inner_product" of vectors that keep their length, or "bm25".
        prefix: put before every query.
        document_prefix: put before every document; "" where a manifest older than it has none.
        corpus_sha256: of the documents, for images also of their files, as `image_digest` has them.
        factory: FAISS index factory string, or "bm25s".
    """

    encoder: str
    fingerprint: str
    dimension: int
    metric: str
    prefix: str
    pooling: str
    corpus_sha256: str
    factory: str
    document_prefix: str = ""


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """One file of an index."""

    sha256: str
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """An index's identity and how it turned out.

    Attributes:
        count: vectors in it; with several images per document more than there are documents.
        exact: no approximation, so that `recall_at_10` is 1 by definition.
        recall_at_10: share of the exact ten nearest that the index finds.
        num_recall_queries: over which that was measured; 0 if `exact`.
        search_parameters: FAISS's, with which it was; they are in the index.
        library: version of the library that wrote it.
        model: of the encoder's weights the folder, or hub id and revision ("owner/name@main");
            `identity.fingerprint` says which they are, wherever they lie.
        files: name -> sha256 and length in bytes of every file of the index.
    """

    identity: Identity
    count: int
    num_documents: int
    exact: bool
    recall_at_10: float
    num_recall_queries: int
    search_parameters: str
    library: str
    model: str
    files: Mapping[str, FileRecord]


def encoder_identity(
    options: EncoderOptions, *, fingerprint: str, corpus_sha256: str, factory: str
) -> Identity:
    """The identity of a vector index whose queries `options` encode."""
    return Identity(
        encoder=options.name,
        fingerprint=fingerprint,
        dimension=options.dimension,
        metric="cosine" if options.normalize else "inner_product",
        prefix=options.prefix,
        document_prefix=options.document_prefix,
        pooling=str(options.pooling),
        corpus_sha256=corpus_sha256,
        factory=factory,
    )


def write_manifest(manifest: Manifest, folder: Path) -> None:
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ValueError: there is none, or it is not one.
    """
    path = folder / MANIFEST
    try:
        record = json.loads(path.read_text())
        identity = Identity(**record["identity"])
        files = {name: FileRecord(**each) for name, each in record["files"].items()}
        return Manifest(**{**record, "identity": identity, "files": files})
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing, there is no index: {REMEDY}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not the manifest of an index: {REMEDY}") from error


def check_identity(found: Identity, expected: Identity, folder: Path) -> None:
    """Refuse an index that was built from, or for, something else.

    Raises:
        ValueError: names all that differs, with both values.
    """
    expected_values = asdict(expected)
    misfits = [
        f"{name} is {_short(value)} there, {_short(expected_values[name])} here"
        for name, value in asdict(found).items()
        if value != expected_values[name]
    ]
    if misfits:
        raise ValueError(f"the index {folder} does not fit: {'; '.join(misfits)}: {REMEDY}")


def file_records(folder: Path) -> dict[str, FileRecord]:
    """What lies in the folder of an index, its manifest aside."""
    paths = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    return {
        path.name: FileRecord(sha256=file_sha256(path), num_bytes=path.stat().st_size)
        for path in paths
    }


def check_files(manifest: Manifest, folder: Path, *, verify: bool = True) -> None:
    """Refuse an index whose files are not those that were built.

    Args:
        verify: compare contents (every byte is read), not lengths alone.

    Raises:
        ValueError: names a file that is missing, cut off or changed.
    """
    for name, record in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"the index {folder} lacks {name}: {REMEDY}")
        if (size := path.stat().st_size) != record.num_bytes:
            raise ValueError(
                f"{path} has {size} bytes, its manifest says {record.num_bytes}: {REMEDY}"
            )
        if verify and file_sha256(path) != record.sha256:
            raise ValueError(f"{path} is corrupt, its sha256 is not its manifest's: {REMEDY}")


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(value: str | int) -> str:
    """Hashes by their first 12 digits."""
    return repr(value[:12] + "…" if isinstance(value, str) and len(value) == 64 else value)
