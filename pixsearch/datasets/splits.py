"""Which splits may be trained on: of the others, results are reported."""

_TRAINING_SPLITS = {
    "ade20k": ("training",),
    "aokvqa": ("train",),
    "coco_stuff": ("train2017",),
    "coco_stuff_lisa143": ("train2017",),
    "crag_mm": ("validation",),  # it has no train; public_test is what papers report
    "encyclopedic_vqa": ("train",),
    "gqa": ("train_all", "train_balanced"),
    "hotpotqa": ("train",),
    "infoseek": ("train",),
    "musique": ("train",),
    "nq_open": ("train",),
    "okvqa": ("train",),
    "oven": ("entity_train", "query_train"),
    "paco_lvis": ("train",),
    "part_imagenet": ("train",),
    "pascal_part": ("train",),
    "popqa": (),
    "reason_seg": ("train",),
    "refcoco": ("train",),
    "textvqa": ("train",),
    "vqav2": ("train",),
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
        named = ", ".join(allowed) or "none"
        raise ValueError(f"{reader}: {split!r} is not for training; there is: {named}")
