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
    """Say what `folder` was made from: when it is whole, or, if it may be gone on with, begun."""
    (folder / MANIFEST).write_text(json.dumps(described, indent=2) + "\n")


def read_world_manifest(root: Path) -> dict[str, Any]:
    """What a world was made from, its seed among it.

    Raises:
        ValueError: no world is at `root`.
    """
    if not (root / MANIFEST).is_file():
        raise ValueError(
            f"{root}: no world is there; run `make demo` or scripts/build_world.py first, or name "
            "the run that has one (paths.miniature=…)"
        )
    return read_json(root / MANIFEST)
