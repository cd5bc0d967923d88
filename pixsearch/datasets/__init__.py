"""Readers of the official formats. A new one: a file with `load(root, split)`, a line below."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pixsearch.config import DatasetOptions, OnError
from pixsearch.datasets import (
    ade20k,
    coco_folder,
    coco_stuff,
    crag_mm,
    llava,
    paco_lvis,
    part_imagenet,
    pascal_part,
    reason_seg,
    refcoco,
    trajectories,
)
from pixsearch.datasets.example import Example
from pixsearch.datasets.lazy import LazyExamples

Reader = Callable[[Path, str], Sequence[Example]]  # not looked into, see LazyExamples

READERS: dict[str, Reader] = {
    "ade20k": ade20k.load,
    "coco_folder": coco_folder.load,
    "coco_stuff": coco_stuff.load,  # all 171 classes
    "coco_stuff_lisa143": coco_stuff.load_lisa143,  # those that LISA and PLUM keep
    "crag_mm": crag_mm.load,
    "llava": llava.load,
    "paco_lvis": paco_lvis.load,
    "part_imagenet": part_imagenet.load,
    "pascal_part": pascal_part.load,
    "reason_seg": reason_seg.load,
    "refcoco": refcoco.load,
    "trajectories": trajectories.load,
}


def open_dataset(options: DatasetOptions, *, on_error: OnError = OnError["raise"]) -> Sequence:
    """The examples of a configured dataset.

    Args:
        on_error: with `quarantine`, records that are known to be broken are errors only when their
            examples are asked for.

    Raises:
        ValueError: there is no such reader, or its files are missing or broken.
    """
    if options.reader not in READERS:
        raise ValueError(f"no reader {options.reader!r}; there are: {', '.join(READERS)}")
    examples = READERS[options.reader](Path(options.root), options.split)
    broken = examples.broken() if isinstance(examples, LazyExamples) else []
    if broken and on_error is not OnError.quarantine:
        more = f" ({len(broken) - 1} more)" if len(broken) > 1 else ""
        raise ValueError(f"{broken[0]}{more}")
    return examples
