"""What a folder of the miniature was made from: one that fits is kept, another refused."""

import json
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import read_json

MANIFEST = "manifest.json"


def is_built(folder: Path, described: dict[str, Any]) -> bool:
    """Whether `folder` is there, made from just this.

    Raises:
        ValueError: it is there and was made from something else; names what differs.
    """
    if not folder.exists():
        return False
    manifest = folder / MANIFEST
    found = read_json(manifest) if manifest.is_file() else {}
    if found != described:
        differ = [name for name in described if found.get(name) != described[name]]
        raise ValueError(
            f"{folder} was made from something else ({', '.join(differ) or 'other fields'}): "
            "remove it, or give another output_dir"
        )
    return True


def write_manifest(folder: Path, described: dict[str, Any]) -> None:
    """Say what `folder` was made from; the last thing that its maker does."""
    (folder / MANIFEST).write_text(json.dumps(described, indent=2) + "\n")
