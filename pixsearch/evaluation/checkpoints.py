"""By what content a checkpoint is known, so that no answer of another one is reused."""

import os
from pathlib import Path

from pixsearch.datasets.files import fingerprint
from pixsearch.generation.baseline import describe, is_plain
from pixsearch.line_store import digest
from pixsearch.training.checkpoint import checkpoint_digest


def model_digest(checkpoint: str) -> str:
    """Of all that decides a model's answers.

    Raises:
        ValueError: there is no such folder, and no such plain model on the hub.
    """
    if is_plain(checkpoint):
        return published_digest(checkpoint)
    return checkpoint_digest(Path(checkpoint))


def published_digest(checkpoint: str | os.PathLike[str], *, revision: str | None = None) -> str:
    """Of all that decides the answers of a model of transformers.

    One on the hub counts by its name and commit, one in a folder by content, its template included.

    Args:
        revision: of a hub id: commit, tag or branch.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():
        return digest(
            [str(checkpoint), describe(checkpoint, revision=revision).get("_commit_hash")]
        )
    return digest([checkpoint_digest(folder), fingerprint(folder.glob("*.jinja"))])
