"""By what content a checkpoint is known, so that no answer of another one is reused."""

from pathlib import Path

from pixsearch.datasets.files import fingerprint
from pixsearch.generation.baseline import describe, is_plain
from pixsearch.line_store import digest
from pixsearch.training.checkpoint import checkpoint_digest


def model_digest(checkpoint: str) -> str:
    """Of all that decides a model's answers.

    A plain model on the hub counts by its name and commit, one in a folder also by its template.

    Raises:
        ValueError: there is no such folder, and no such plain model on the hub.
    """
    folder = Path(checkpoint)
    if not is_plain(checkpoint):
        return checkpoint_digest(folder)
    if not folder.is_dir():
        return digest([checkpoint, describe(checkpoint).get("_commit_hash")])
    return published_digest(folder)


def published_digest(folder: Path) -> str:
    """Of all that decides the answers of a model that transformers wrote to a folder."""
    return digest([checkpoint_digest(folder), fingerprint(folder.glob("*.jinja"))])
