"""Readers of the official formats. A new one: a file with `load(root, split)`, a line below."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pixsearch.config import DatasetOptions
from pixsearch.datasets import coco_folder, crag_mm, llava, refcoco, trajectories
from pixsearch.datasets.example import Example

Reader = Callable[[Path, str], Sequence[Example]]

READERS: dict[str, Reader] = {
    "coco_folder": coco_folder.load,
    "crag_mm": crag_mm.load,
    "llava": llava.load,
    "refcoco": refcoco.load,
    "trajectories": trajectories.load,
}


def open_dataset(options: DatasetOptions) -> Sequence[Example]:
    """The examples of a configured dataset.

    Raises:
        ValueError: there is no such reader, or its files are missing or broken.
    """
    if options.reader not in READERS:
        raise ValueError(f"no reader {options.reader!r}; there are: {', '.join(READERS)}")
    return READERS[options.reader](Path(options.root), options.split)
