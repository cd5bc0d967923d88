"""Which splits may be trained on: of the others, results are reported."""

_TRAINING_SPLITS = {
    "ade20k": ("training",),
    "aokvqa": ("train",),
    "coco_stuff": ("train2017",),
    "coco_stuff_lisa143": ("train2017",),
    "crag_mm": ("validation",),  # it has no train; public_test is what papers report
    "infoseek": ("train",),
    "okvqa": ("train",),
    "oven": ("entity_train", "query_train"),
    "paco_lvis": ("train",),
    "part_imagenet": ("train",),
    "pascal_part": ("train",),
    "reason_seg": ("train",),
    "refcoco": ("train",),
    "textvqa": ("train",),
    "webqa": ("train",),
}


def check_training_split(reader: str, split: str) -> None:
    """See that a split may be trained on; a reader without official splits has any.

    Raises:
        ValueError: results are reported on it.

    >>> check_training_split("crag_mm", "public_test")
    Traceback (most recent call last):
    ValueError: crag_mm: 'public_test' is not for training; there is: validation
    """
    allowed = _TRAINING_SPLITS.get(reader)
    if allowed is not None and split not in allowed:
        raise ValueError(f"{reader}: {split!r} is not for training; there is: {', '.join(allowed)}")
