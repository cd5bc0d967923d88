"""By what content a checkpoint is known, so that no answer of another one is reused."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import fingerprint
from pixsearch.generation.baseline import describe, is_plain
from pixsearch.line_store import digest, read_manifest
from pixsearch.training.checkpoint import checkpoint_digest

logger = logging.getLogger(__name__)


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


def warn_of_another(folder: Path, checkpoint: str, run: Mapping[str, Any]) -> None:
    """Say so where a folder's answers are another checkpoint's, which are set aside next.

    Args:
        folder: of files of lines.
        run: by what the new answers are known, the checkpoint's digest among it.
    """
    for path in sorted(folder.glob("*.jsonl")):
        earlier = read_manifest(path)["run"]["checkpoint"]
        if earlier != run["checkpoint"]:
            logger.warning(
                "%s holds answers of checkpoint %s; they are set aside for those of %s (%s): give "
                "each checkpoint an output_dir to keep both",
                folder,
                earlier[:12],
                checkpoint,
                run["checkpoint"][:12],
            )
            return
