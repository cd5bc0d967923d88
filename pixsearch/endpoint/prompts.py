"""The words that go before a request: our own, in a file for each task and version.

A changed prompt gets a new file and a new number, so that a cache or a folder never mixes two.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is said before the fields of a request.

    Attributes:
        version: `select_v1`, and the beginning of the sha256 of its words.
    """

    text: str
    version: str


def read_prompt(path: Path, *, example: Path) -> Prompt:
    """The prompt in a file.

    Args:
        example: the project's own, to be copied where this one is missing.

    Raises:
        ValueError: it is missing.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such prompt; copy {example} there and change it")
    text = path.read_text(encoding="utf-8").strip()
    hashed = hashlib.sha256(text.encode()).hexdigest()
    return Prompt(text=text, version=f"{path.stem}-{hashed[:12]}")
