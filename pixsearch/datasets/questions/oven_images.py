"""OVEN's images, which InfoSeek shares: `oven_images/<two digits>/oven_<eight digits><suffix>`."""

from pathlib import Path

SOURCE = "OVEN's images (ychenNLP/oven on the Hugging Face hub)"

_SUFFIXES = (".jpg", ".JPEG", ".jpeg", ".png")  # kept from the fourteen sets they were taken from


def oven_image(folder: Path, image_id: str, *, where: str) -> Path:
    """The file of an image; where none is there, the one that most images would have.

    Args:
        folder: `oven_images`, as `merge_oven_images.py` of OVEN's authors fills it.

    Raises:
        ValueError: no image can have this id.
    """
    digits = image_id.rpartition("_")[2]
    if not digits.isdigit():
        raise ValueError(f"{where}: image_id {image_id!r}; OVEN's are like 'oven_01963180'")
    paths = [folder / digits[:2] / f"{image_id}{suffix}" for suffix in _SUFFIXES]
    return next((path for path in paths if path.is_file()), paths[0])
